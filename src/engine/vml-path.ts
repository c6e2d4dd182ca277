// `/.vml` and the entry's own document in it, as paths of a machine.
import { rawFromString } from '../base/raw-text.ts'
import { vmlFolder } from '../model/entry.ts'
import { joinPath, parseRawPath, type RawName, rootPath } from '../model/raw-path.ts'

export const vmlPath = parseRawPath(rawFromString(vmlFolder)) ?? rootPath
export const documentPath = joinPath(vmlPath, 'entry.json' as RawName)
