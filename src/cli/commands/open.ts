// `vml open`: an entry becomes a running virtual machine; also stops, lists and removes such machines.
import { enterGuest, openGuest, openHypervisor } from '../../app/hypervisors.ts'
import { openLibrary, rememberedImages } from '../../app/images.ts'
import { FAILURES, VmlError } from '../../base/failure.ts'
import { printableText } from '../../base/raw-text.ts'
import { entryName, isImported } from '../../engine/entries.ts'
import { baseFactsOf } from '../../engine/entry-documents.ts'
import { describeEntryFully, type EntryDetails, findEntry } from '../../engine/look.ts'
import { type Opened, openEntry, type OpenPlan, planOpen, startAgain } from '../../engine/open.ts'
import { missingFacts, type MissingPath } from '../../engine/restore-missing.ts'
import type { OpenMachine } from '../../engine/save.ts'
import type { MachineNetwork, SshAccess } from '../../hypervisor/hypervisor.ts'
import { itemsOf } from '../../model/image.ts'
import { isMachineName, parseImageReference } from '../../model/machine.ts'
import type { VersionReport } from '../../model/version-report.ts'
import { readMachinePackages } from '../../packages/machine-packages.ts'
import { type Context, count, defineCommand, dryRun, flag, type Operand, text } from '../command.ts'
import { formatBytes, formatCount, formatDuration, plural } from '../format.ts'
import { noteMissing } from '../print-restore.ts'
import { table } from '../style.ts'
import { keepPrunesOut } from '../read-lock.ts'

const memoryMiBDefault = 1024

const entryOperand: Operand = { name: 'ENTRY', description: 'the entry', required: false, complete: 'entry' }

export const command = defineCommand({
  description:
    'Starts a virtual machine on the base image of an entry (or another version of it: you are told what differs, never refused), restores the home exactly and prints the ssh command. Nothing but QEMU keeps running. An imported entry gets no network unless you say --network. --list shows the machines that were opened; --stop, --start and --rm take one of them.',
  operands: [entryOperand],
  options: {
    image: text('--image <name@version>', 'another base image, or another version of it'),
    name: text('--name <vm>', 'how the machine is called (default: from the entry)'),
    user: text('--user <name>', 'whose home it becomes (default: as the image says)'),
    network: flag('--network', 'let an imported entry reach the network and this host'),
    memory: count('--memory <mib>', `memory in MiB (default ${memoryMiBDefault})`),
    restore: { ...flag('--no-restore', 'start the base image alone'), parse: (typed) => typed !== false },
    withoutCache: flag('--without-cache', 'leave the cache parts out'),
    dryRun,
    list: flag('--list', 'list the machines that were opened'),
    stop: text('--stop <vm>', 'shut a machine down'),
    start: text('--start <vm>', 'start a machine that was stopped, as it was'),
    rm: text('--rm <vm>', 'remove a machine, and stop it first'),
  },
  examples: [
    { line: 'vml open 42', does: 'on the base image that it was saved on' },
    { line: 'vml open 42 --image debian@12.6 --name try', does: 'on another version' },
    { line: 'vml open --rm try', does: 'end it and free its space' },
  ],
  async run(context, { operands: [typed], options }) {
    if (options.list) return await listMachines(context)
    if (options.stop !== undefined) return await stopMachine(context, options.stop)
    if (options.start !== undefined) return await startMachine(context, options.start)
    if (options.rm !== undefined) return await removeMachine(context, options.rm)
    if (typed === undefined)
      throw new VmlError('usage', 'Cannot tell what to open', {
        hint: 'Name an entry: vml open 42; vml log shows them',
      })
    const { config, clock, signal, reporter } = context
    const image = options.image === undefined ? undefined : parseImageReference(options.image)
    if (options.image !== undefined && !image)
      throw new VmlError('usage', `Cannot use the image "${printableText(options.image)}"`, {
        hint: 'Write NAME@VERSION',
      })
    const startedAt = clock.now()
    const logbook = await context.openLogbook()
    await using _lock = await keepPrunesOut(context, logbook.repository, 'careful')
    const { entry } = await findEntry(logbook, typed, context)
    const details = await describeEntryFully(logbook.repository, entry, context)
    const { document } = details
    if (!document)
      throw new VmlError('unsupported', `Cannot open ${entryName(entry)}: another program made it`, {
        hint: 'Nothing was started. vml restore puts its files into a folder: --to DIR',
      })
    const name = options.name ?? `entry-${entry.number ?? entry.id.slice(0, 8)}`
    if (!isMachineName(name))
      throw new VmlError('usage', `Cannot call a machine "${printableText(name)}"`, {
        hint: 'A name has letters, digits, ".", "_" and "-"',
      })
    const isForeign = isImported(entry)
    const network = isForeign && !options.network ? 'restricted' : 'user'
    const caches = options.withoutCache ? 'none' : 'all'
    if (options.dryRun) {
      const offered = await rememberedImages(config)
      const library = openLibrary(config, clock)
      const plan = await planOpen({
        entry,
        document,
        repository: logbook.repository,
        library,
        offered,
        image,
        user: options.user,
        restore: options.restore,
        caches,
        reporter,
        signal,
      })
      if ((await openHypervisor(config, clock).list()).some((machine) => machine.name === name))
        throw new VmlError(
          'exists',
          `Cannot open ${entryName(entry)} as "${name}": there is such a machine`,
          {
            hint: `Nothing was started. Choose another --name, or remove it: vml open --rm ${name}`,
          },
        )
      printPlan(context, plan, { name, network })
      return statusOf(plan.missing)
    }
    let report: VersionReport | undefined
    const opened = await openEntry(
      {
        entry,
        document,
        repository: logbook.repository,
        library: openLibrary(config, clock),
        offered: await rememberedImages(config),
        hypervisor: openHypervisor(config, clock),
        image,
        name,
        user: options.user,
        network,
        memoryMiB: options.memory ?? config.open.memoryMiB ?? memoryMiBDefault,
        restore: options.restore,
        caches,
        openGuest: (access: SshAccess, user: string) => openGuest(name, access, user, signal),
        enter: (access: SshAccess, user: string) => enterGuest({ access, user, clock }, signal),
        reporter,
        signal,
      },
      async (guest, found) => {
        report = await reportOn(context, details, guest, { image: found, mappedUid: document.user.uid })
        printReport(context, report)
      },
    )
    printOpened(context, {
      opened,
      report,
      durationMs: clock.now() - startedAt,
      restricted: network === 'restricted',
    })
    return statusOf(opened.restored?.prepared.missing ?? [])
  },
})

/** As of a restore: what the entry never had, or lost, is not in the machine. */
function statusOf(missing: readonly MissingPath[]): number {
  return missing.length > 0 ? FAILURES.partial.exit : 0
}

async function reportOn(
  context: Context,
  { entry, document, packages, variables }: EntryDetails,
  guest: OpenMachine,
  at: { image: { name: string; version: string }; mappedUid: number },
): Promise<VersionReport> {
  const [{ reportVersions }, { readVmlFile }, { parseLibraries }] = await Promise.all([
    import('../../engine/version-report.ts'),
    import('../../engine/entries.ts'),
    import('../../model/documents.ts'),
  ])
  const { repository } = await context.openLogbook()
  const libraries = await readVmlFile(repository, entry.snapshot, 'libraries.json', context)
  const here = await readMachinePackages(guest.packageManagers, guest.shell, context)
  return await reportVersions({
    entry: {
      repository,
      tree: entry.snapshot.tree,
      facts: document?.facts ?? {},
      ...(document?.image ? { image: document.image } : {}),
      ...(packages ? { packages } : {}),
      ...(variables ? { environment: variables } : {}),
      ...(libraries ? { libraries: parseLibraries(libraries) } : {}),
    },
    machine: {
      shell: guest.shell,
      facts: baseFactsOf(guest.facts),
      image: at.image,
      ...(here ? { packages: here } : {}),
      mappedUids: new Set([at.mappedUid]),
    },
    signal: context.signal,
  })
}

function printReport({ out }: Context, { lines, amber }: VersionReport): void {
  if (amber === 0) {
    out.note(out.noteStyle.green('  Nothing was found that differs from the machine that it was saved on'))
    return
  }
  out.note(out.noteStyle.yellow(`  ${plural(amber, 'difference')} that may matter:`))
  for (const { level, text: line } of lines)
    if (level === 'amber') out.note(out.noteStyle.yellow(`    ! ${line}`))
}

function printPlan(
  { out }: Context,
  { record, where, userName, missing }: OpenPlan,
  { name, network }: { name: string; network: MachineNetwork },
): void {
  const image = `${printableText(record.name)}@${printableText(record.version)}`
  const bytes = itemsOf(record).reduce((sum, { item }) => sum + item.sizeBytes, 0)
  const from = record.items.disk.urls[0]
  const source = from === undefined ? '' : ` from ${printableText(from)}`
  out.line(
    where === 'local'
      ? `  base image ${image} is here`
      : `  base image ${image} would be downloaded (${formatBytes(bytes)}${source})`,
  )
  out.line(`  user ${printableText(userName)}, ${network === 'restricted' ? 'no network' : 'with network'}`)
  out.line(`Would open ${name}; nothing was started`)
  noteMissing(out, missing)
  const known = { name: record.name, version: record.version, sha256: record.items.disk.sha256 }
  out.document({
    schema: 1,
    dry_run: true,
    name,
    image: { ...known, where, bytes, url: from },
    user: userName,
    network,
    missing: missingFacts(missing),
  })
}

function printOpened(
  { out }: Context,
  done: { opened: Opened; report: VersionReport | undefined; durationMs: number; restricted: boolean },
): void {
  const { opened, report, durationMs, restricted } = done
  const { access, user, name, restored, mapped, image } = opened
  for (const line of mapped) out.note(`  ${line}`)
  if (restored) {
    const { counts, bytes } = restored.prepared.plan
    const { proof } = restored.report
    out.note(
      `  restored ${plural(counts.created + counts.replaced, 'path')} (${formatBytes(bytes)}), deleted ${formatCount(counts.removed)}; ${formatCount(proof.checked)} read back, ${plural(proof.contents, 'file')} hashed, all equal`,
    )
    noteMissing(out, restored.prepared.missing)
  }
  if (restricted) out.note('  it came from somebody else: it has no network (--network lifts that)')
  out.line(sshCommand(access, user.name))
  out.note(`  end it: vml open --stop ${name}, or for good: vml open --rm ${name}`)
  out.summary(
    `Opened ${name} on ${image.record.name}@${image.record.version} in ${formatDuration(durationMs)}`,
    {
      schema: 1,
      name,
      image: {
        name: image.record.name,
        version: image.record.version,
        sha256: image.record.items.disk.sha256,
      },
      user: user.name,
      ssh: sshFacts(access, user.name),
      network: restricted ? 'restricted' : 'user',
      report: report?.lines,
      mapped,
      restored: restored && {
        counts: restored.prepared.plan.counts,
        bytes: restored.prepared.plan.bytes,
        proof: { ...restored.report.proof, differences: 0 },
        missing: missingFacts(restored.prepared.missing),
      },
      duration_ms: durationMs,
    },
  )
}

function sshFacts(access: SshAccess, user: string) {
  const { host, port, identityFile, knownHostsFile } = access
  return {
    host,
    port,
    identity_file: identityFile,
    known_hosts: knownHostsFile,
    command: sshCommand(access, user),
  }
}

/** Can be pasted into any POSIX shell. */
function sshCommand(
  { port, host, identityFile, knownHostsFile, hostKeyAlias }: SshAccess,
  user: string,
): string {
  const quote = (word: string) =>
    /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`
  return `ssh -p ${port} -i ${quote(identityFile)} -o IdentitiesOnly=yes -o UserKnownHostsFile=${quote(knownHostsFile)} -o HostKeyAlias=${hostKeyAlias} ${user}@${host}`
}

async function listMachines({ config, clock, out }: Context): Promise<number> {
  const machines = await openHypervisor(config, clock).list()
  out.document({ schema: 1, machines })
  for (const line of table(
    machines.map(({ name, state, image, sshPort, network }) => [
      out.style.bold(name),
      state,
      image ? `${printableText(image.name)}@${printableText(image.version)}` : '',
      state === 'running' && sshPort !== undefined ? `port ${sshPort}` : '',
      network === 'restricted' ? 'no network' : '',
    ]),
  ))
    out.line(line)
  if (machines.length === 0) out.note('None: vml open ENTRY')
  return 0
}

async function startMachine(
  { config, clock, out, signal, reporter }: Context,
  name: string,
): Promise<number> {
  const { access, user } = await startAgain({
    hypervisor: openHypervisor(config, clock),
    name,
    openGuest: (to, login) => openGuest(name, to, login, signal),
    enter: (to, login) => enterGuest({ access: to, user: login, clock }, signal),
    reporter,
    signal,
  })
  out.line(sshCommand(access, user.name))
  out.document({ schema: 1, name, state: 'running', ssh: sshFacts(access, user.name) })
  return 0
}

async function stopMachine({ config, clock, out, signal }: Context, name: string): Promise<number> {
  const { state } = await openHypervisor(config, clock).stop(name, { mode: 'acpi', signal })
  out.line(`${printableText(name)} is ${state}`)
  out.document({ schema: 1, name, state })
  return 0
}

async function removeMachine(context: Context, name: string): Promise<number> {
  const { config, clock, out, signal } = context
  const hypervisor = openHypervisor(config, clock)
  const { state } = await hypervisor.status(name)
  // What was done in it and not saved goes with it; an unfinished one was never anybody's.
  if (state !== 'unfinished')
    await context.confirm(`Remove ${name} with everything in it that was not saved?`)
  if ((await hypervisor.status(name)).state === 'running')
    await hypervisor.stop(name, { mode: 'kill', signal })
  const { leftInPlace } = await hypervisor.remove(name)
  out.line(`Removed ${printableText(name)}`)
  for (const left of leftInPlace)
    out.note(`  left in place, since VML did not make it: ${printableText(left)}`)
  out.document({ schema: 1, name, removed: true, left_in_place: leftInPlace })
  return 0
}
