// What a stage would change, by meaning, before it is committed: packages, lines of configuration, services, bytes.
import { readFileSync } from 'node:fs'
import { rawFromBytes, rawToBytes } from '../base/raw-text.ts'
import { isWithin, type RawPath, rootPath } from '../model/raw-path.ts'
import { textDiff, textDiffBytesMax } from '../model/text-diff.ts'
import type { Fingerprint, PathChange } from '../model/transaction.ts'
import type { PackageTransition } from '../model/transaction-record.ts'
import { planServices, type ServiceStep } from '../stage/service-queue.ts'
import type { LookedStage } from './end-stage.ts'
import { readIfThere } from './open-stage.ts'
import { packageHostOf } from './packages-now.ts'
import { commitNeeds, type SpaceNeed } from './space-need.ts'
import { openStageView, type StageView } from './stage-view.ts'
import { inRoot, openFolder, pathIn, type Workplace } from './workplace.ts'

export interface StagePreview {
  readonly packages: readonly PackageTransition[]
  readonly configuration: readonly ConfigurationChange[]
  readonly services: readonly Pick<ServiceStep, 'service' | 'action'>[]
  readonly changes: readonly PathChange[]
  /** Of regular files that are new, less those that go. */
  readonly addedBytes: number
  readonly needs: readonly SpaceNeed[]
}

export interface ConfigurationChange {
  readonly path: RawPath
  readonly change: 'created' | 'changed' | 'deleted'
  /** Fit for a terminal, with `+` or `-` in front; absent where others than its owner may not read it, or it is no text. */
  readonly lines?: readonly string[]
}

const etc = pathIn(rootPath, '/etc')
const othersMayRead = 0o004

export async function previewStage(place: Workplace, looked: LookedStage): Promise<StagePreview> {
  const { changes } = looked.changeSet
  const view = openStageView(place, looked)
  const queue = readIfThere(pathIn(openFolder(place), 'queue')) ?? Buffer.alloc(0)
  const { stops, starts } = planServices(rawFromBytes(queue), { systemd: false })
  const sizeOf = (state: Fingerprint | undefined) => (state?.type === 'file' ? (state.size ?? 0) : 0)
  return {
    packages: await packagesOf(place, view),
    configuration: changes.flatMap((change) => configurationChange(place, view, change)),
    services: [...stops, ...starts].map(({ service, action }) => ({ service, action })),
    changes,
    addedBytes: changes.reduce((sum, { before, after }) => sum + sizeOf(after) - sizeOf(before), 0),
    needs: commitNeeds(place, looked),
  }
}

async function packagesOf(place: Workplace, view: StageView): Promise<PackageTransition[]> {
  const host = packageHostOf(place)
  const found: PackageTransition[] = []
  for (const system of place.packageSystems)
    if (system.isThere(place.root)) found.push(...(await system.preview(host, (path) => view.placeOf(path))))
  return found
}

function configurationChange(
  place: Workplace,
  view: StageView,
  { path, before, after }: PathChange,
): ConfigurationChange[] {
  const state = after ?? before
  if (!isWithin(path, etc) || state === undefined || state.type === 'dir') return []
  const change = before === undefined ? 'created' : after === undefined ? 'deleted' : 'changed'
  const isOpen = [before, after].every((one) => one === undefined || isReadable(one))
  if (!isOpen || before?.type !== 'file' || after?.type !== 'file') return [{ path, change }]
  const staged = view.placeOf(path)
  if (staged === undefined) return [{ path, change }]
  const [old, now] = [inRoot(place, path), staged].map((file) => readFileSync(rawToBytes(file)))
  if (old === undefined || now === undefined) return [{ path, change }]
  const diff = textDiff(old, now, { context: 0 })
  if (diff.kind !== 'text') return [{ path, change }]
  return [{ path, change, lines: diff.lines.filter((line) => !line.startsWith('@@')) }]
}

function isReadable({ type, mode, size = 0 }: Fingerprint): boolean {
  return type === 'file' && (mode & othersMayRead) !== 0 && size <= textDiffBytesMax
}
