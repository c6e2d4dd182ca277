// The schema of `/.vml/entry.json` (docs/format.md). Loads zod: import on use.
import * as z from 'zod'
import {
  base64Path,
  count,
  listMax,
  listOf,
  printedPath,
  sha256,
  text,
  textsByName,
  time,
} from './document-fields.ts'
import type { EntryDocument } from './entry.ts'
import type { EntryId } from './ids.ts'
import { isMachineName, parseImageReference } from './machine.ts'

const nanoseconds = z.string().regex(/^-?\d{1,24}$/)
const list = <Item extends z.ZodType>(item: Item) => listOf(item, listMax)
/** os-release has some twenty. */
const systemFieldsMax = 1000
const path = { path: printedPath, raw: base64Path }

const image = z
  .object({
    name: text,
    version: text,
    guessed: z.boolean(),
    sha256: sha256.exactOptional(),
  })
  .refine(({ name, version }) => parseImageReference(`${name}@${version}`) !== undefined, 'no NAME@VERSION')

const facts = z.object({
  os: textsByName(systemFieldsMax).exactOptional(),
  cernvmRelease: text.exactOptional(),
  kernel: text.exactOptional(),
  architecture: text.exactOptional(),
  hostname: text.exactOptional(),
  loginShell: text.exactOptional(),
})

const fidelity = z.object({
  timeResolutionNs: count,
  ctime: z.boolean(),
  inode: z.boolean(),
  ownerNames: z.boolean(),
  xattrs: z.boolean(),
  acls: z.boolean(),
  sparse: z.boolean(),
  notes: list(text),
})

export const entrySchema: z.ZodType<EntryDocument> = z.object({
  schema: z.literal(1),
  kind: z.enum(['environment', 'safety']),
  title: text,
  note: z.string().max(1024 * 1024),
  machine: z.string().refine(isMachineName, 'no name of a machine'),
  project: text.exactOptional(),
  number: count,
  mode: z.enum(['full', 'incremental', 'differential']),
  modeReason: text.exactOptional(),
  since: sha256.transform((id) => id as EntryId).exactOptional(),
  startedAt: time,
  user: z.object({ name: text, uid: count, gid: count, home: printedPath, homeRaw: base64Path }),
  roots: list(z.object({ ...path, why: z.enum(['home', 'include', 'only', 'cache', 'safety']) })),
  image: image.exactOptional(),
  facts,
  scan: z.object({ startedNs: nanoseconds, resolutionNs: count }),
  fidelity,
  rules: z.object({ exclude: list(text), defaults: z.boolean() }),
  excluded: list(z.object({ ...path, rule: text })),
  problems: list(
    z.object({
      ...path,
      problem: z.enum(['unreadable', 'vanished', 'changed-while-read', 'socket', 'mount', 'dead-mount']),
      message: text.exactOptional(),
    }),
  ),
  mounts: list(z.object({ ...path, type: text })),
  cvmfs: list(z.object({ repository: text, revision: text.exactOptional() })),
  caches: list(z.object({ name: text, ...path, files: count, bytes: count })),
  outcome: z.enum(['complete', 'partial']),
  statistics: z.object({
    files: count,
    folders: count,
    others: count,
    bytes: count,
    filesRead: count,
    bytesRead: count,
  }),
})
