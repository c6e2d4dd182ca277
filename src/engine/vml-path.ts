// `/.vml` as a path of a machine.
import { rawFromString } from '../base/raw-text.ts'
import { vmlFolder } from '../model/entry.ts'
import { parseRawPath, rootPath } from '../model/raw-path.ts'

export const vmlPath = parseRawPath(rawFromString(vmlFolder)) ?? rootPath
