// Random histories of shell commands over a few names, so that they meet: written, linked, moved, replaced, given rights and attributes.
import { noise } from './store-fixture.ts'

/** Names with all that a shell and a script can trip over. */
const names = ['a', 'b', 'c', 'd-e', 'x y', 'new\nline', "it's", '-n', '\xff\xfe', '$HOME`']

export interface Dice {
  /** Below `sides`. */
  roll(sides: number): number
}

export function openDice(seed: number): Dice {
  let at = 0
  let bytes = Buffer.from(noise(64 * 1024, `history ${seed}`))
  return {
    roll(sides) {
      if (at + 4 > bytes.length) {
        bytes = Buffer.from(noise(64 * 1024, `history ${seed} ${bytes.toString('hex', 0, 8)}`))
        at = 0
      }
      const value = bytes.readUInt32LE(at)
      at += 4
      return value % sides
    },
  }
}

const quoted = (word: string) => `'${word.replaceAll("'", "'\\''")}'`

/** A script, one character per byte, run where `folders` lie. A command that fails changes nothing and is no matter. */
export function historyScript(dice: Dice, operations: number, folders: readonly string[]): string {
  const pick = <T>(from: readonly T[]): T => {
    const found = from[dice.roll(from.length)]
    if (found === undefined) throw new Error('Nothing to pick from')
    return found
  }
  const path = (): string => {
    let at = pick(folders)
    for (let depth = 1 + dice.roll(3); depth > 0; depth--) at += `/${pick(names)}`
    return quoted(at)
  }
  const text = () => quoted(`text ${dice.roll(50)} `.repeat(1 + dice.roll(20)))
  const commands: readonly (() => string)[] = [
    () => `printf %s ${text()} >${path()}`,
    () => `printf %s ${text()} >${path()}`,
    () => `printf %s ${text()} >>${path()}`,
    () => `truncate -s ${dice.roll(5000)} ${path()}`,
    () => `mv -fT ${path()} ${path()}`,
    () => `mv -f ${path()} ${path()}`,
    () => `ln ${path()} ${path()}`,
    () => `ln ${path()} ${path()}`,
    () => `ln -fT ${path()} ${path()}`,
    () => `ln -s ${text()} ${path()}`,
    () => `ln -sfn ${path()} ${path()}`,
    () => `mkdir -p ${path()}`,
    () => `mkdir ${path()}`,
    () => `rmdir ${path()}`,
    () => `rm -f ${path()}`,
    () => `rm -rf ${path()}`,
    () => `chmod ${pick(['600', '755', '4755', '1777', '2750', '0'])} ${path()}`,
    () => `chown -h ${dice.roll(3)}:${dice.roll(3)} ${path()}`,
    () => `touch -h -d @${dice.roll(3)} ${path()}`,
    () => `setfattr -h -n user.note -v ${dice.roll(3)} ${path()}`,
    () => `setfattr -h -n trusted.note -v ${dice.roll(3)} ${path()}`,
    () => `setfattr -h -x user.note ${path()}`,
    () => `setfacl -m u:${dice.roll(3)}:r ${path()}`,
    () => `setfacl -d -m u:${dice.roll(3)}:rx ${path()}`,
    () => `setcap cap_net_raw+ep ${path()}`,
    // Names of their own, that nothing writes to: a pipe without a reader waits for ever. null and full harm nobody.
    () => `mknod ${path()}.node c 1 ${pick(['3', '7'])}`,
    () => `mkfifo ${path()}.pipe`,
    () =>
      ((at) =>
        `mknod ${at}.node c 1 ${pick(['3', '7'])}; chmod 60${dice.roll(8)} ${at}.node; rm -f ${at}.pipe`)(
        path(),
      ),
    () => `cp -aT ${path()} ${path()}`,
    () => `cp -alT ${path()} ${path()}`,
    // As a package is unpacked.
    () =>
      ((at) => `printf %s ${text()} >${at}.new && touch -d @9 ${at}.new && mv -fT ${at}.new ${at}`)(path()),
    () =>
      ((at) =>
        `ln ${at} ${at}.tmp; printf %s ${text()} >${at}.new && mv -fT ${at}.new ${at}; rm -f ${at}.tmp`)(
        path(),
      ),
    () => ((at) => `rm -rf ${at}; printf %s ${text()} >${at}`)(path()),
    () => ((at) => `rm -rf ${at}; mkdir ${at}; printf %s ${text()} >${at}/a`)(path()),
    () => ((at) => `rm -rf ${at}; ln -s nowhere ${at}`)(path()),
    () => ((at) => `sed -i s/text/other/ ${at}`)(path()),
  ]
  const lines = Array.from({ length: operations }, () => pick(commands)())
  return `export LC_ALL=C\nexec 2>/dev/null\n${lines.map((line) => `{ ${line}; } || :`).join('\n')}\n`
}
