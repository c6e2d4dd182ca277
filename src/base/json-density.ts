// Whether JSON is made to take more memory than it has bytes: a list of empty objects takes twenty times as much once it is parsed.

/** Below this nothing is counted: at worst it takes some 200 MB. */
const countedBytesMin = 8 * 1024 * 1024
// What VML and restic write has a bracket in 60 bytes and a comma in 20, names and numbers being what they are.
const bytesPerBracketMin = 32
const bytesPerCommaMin = 10

/** For what comes from outside and may be large. Text within strings does not count. */
export function isDenseJson(json: Uint8Array): boolean {
  if (json.length < countedBytesMin) return false
  let brackets = 0
  let commas = 0
  let inString = false
  for (let at = 0; at < json.length; at++) {
    const byte = json[at]
    if (byte === 0x22) inString = !inString
    else if (inString) at += byte === 0x5c ? 1 : 0
    else if (byte === 0x7b || byte === 0x5b) brackets++
    else if (byte === 0x2c) commas++
  }
  return brackets * bytesPerBracketMin > json.length || commas * bytesPerCommaMin > json.length
}
