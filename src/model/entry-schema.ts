// The form of `/.vml/entry.json` (docs/format.md).
import { base64Path, listMax, printedPath, sha256, text, textsByName, time } from './document-fields.ts'
import type { EntryDocument } from './entry.ts'
import {
  type Check,
  count,
  flag,
  listOf,
  objectOf,
  oneOf,
  optional,
  suchThat,
  textOf,
  convert,
} from './field-check.ts'
import type { EntryId } from './ids.ts'
import { isMachineName, parseImageReference } from './machine.ts'

const nanoseconds = textOf({ pattern: /^-?\d{1,24}$/ })
const list = <T>(item: Check<T>) => listOf(item, listMax)
/** os-release has some twenty. */
const systemFieldsMax = 1000
const path = { path: printedPath, raw: base64Path }

const image = suchThat(
  objectOf({
    name: text,
    version: text,
    guessed: flag,
    sha256: optional(sha256),
  }),
  ({ name, version }) => parseImageReference(`${name}@${version}`) !== undefined,
  'no NAME@VERSION',
)

const facts = objectOf({
  os: optional(textsByName(systemFieldsMax)),
  cernvmRelease: optional(text),
  kernel: optional(text),
  architecture: optional(text),
  hostname: optional(text),
  loginShell: optional(text),
})

const fidelity = objectOf({
  timeResolutionNs: count,
  ctime: flag,
  inode: flag,
  ownerNames: flag,
  xattrs: flag,
  acls: flag,
  sparse: flag,
  notes: list(text),
})

export const entryCheck: Check<EntryDocument> = objectOf({
  schema: oneOf(1),
  kind: oneOf('environment', 'safety', 'transaction'),
  title: text,
  note: textOf({ charactersMax: 1024 * 1024 }),
  machine: suchThat(textOf({}), isMachineName, 'no name of a machine'),
  project: optional(text),
  number: count,
  mode: oneOf('full', 'incremental', 'differential'),
  modeReason: optional(text),
  since: optional(convert(sha256, (id) => id as EntryId)),
  startedAt: time,
  user: objectOf({ name: text, uid: count, gid: count, home: printedPath, homeRaw: base64Path }),
  roots: list(objectOf({ ...path, why: oneOf('home', 'include', 'only', 'cache', 'safety') })),
  image: optional(image),
  facts,
  scan: objectOf({ startedNs: nanoseconds, resolutionNs: count }),
  fidelity,
  rules: objectOf({ exclude: list(text), defaults: flag }),
  excluded: list(objectOf({ ...path, rule: text })),
  problems: list(
    objectOf({
      ...path,
      problem: oneOf('unreadable', 'vanished', 'changed-while-read', 'socket', 'mount', 'dead-mount'),
      message: optional(text),
    }),
  ),
  mounts: list(objectOf({ ...path, type: text })),
  cvmfs: list(objectOf({ repository: text, revision: optional(text) })),
  caches: list(objectOf({ name: text, ...path, files: count, bytes: count })),
  outcome: oneOf('complete', 'partial'),
  statistics: objectOf({
    files: count,
    folders: count,
    others: count,
    bytes: count,
    filesRead: count,
    bytesRead: count,
  }),
})
