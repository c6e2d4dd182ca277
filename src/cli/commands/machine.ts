// `vml machine add|list|rm`: the machines that are logged, as they stand in the user's configuration.
import { waysToAdd } from '../../app/config.ts'
import { VmlError } from '../../base/failure.ts'
import {
  formatImageReference,
  formatMachineAddress,
  isMachineName,
  parseImageReference,
  parseMachineAddress,
  type Machine,
} from '../../model/machine.ts'
import { defineCommand, dryRun, type NounSpec, operand, text } from '../command.ts'
import { table } from '../style.ts'

const add = defineCommand({
  description:
    'Adds a machine to your configuration. Nothing is installed on it and nothing is asked of it before the first save.',
  operands: [
    operand('NAME', 'how you call it'),
    operand('ADDRESS', 'ssh://USER@HOST:PORT, or local: for this host'),
  ],
  options: { image: text('--image <name@version>', 'the base image that it started from'), dryRun },
  examples: [
    { line: 'vml machine add lab ssh://lab@vm1', does: 'a machine that ssh reaches' },
    {
      line: 'vml machine add lab ssh://lab@10.0.0.7:2222 --image debian@12',
      does: 'with its port and base image',
    },
    { line: 'vml machine add here local:', does: 'this host' },
  ],
  async run({ config, clock, out }, { operands: [name = '', addressText = ''], options }) {
    if (!isMachineName(name))
      throw new VmlError('usage', `Cannot call a machine "${name}"`, {
        hint: 'A name has letters, digits, ".", "_" and "-", begins with a letter or digit, and is not "now"',
      })
    const address = parseMachineAddress(addressText)
    if (!address)
      throw new VmlError('usage', `Cannot use the address "${addressText}"`, {
        hint: 'Write ssh://USER@HOST or ssh://USER@HOST:PORT, or local: for this host',
      })
    const image = options.image === undefined ? undefined : parseImageReference(options.image)
    if (options.image !== undefined && !image)
      throw new VmlError('usage', `Cannot use the image "${options.image}"`, { hint: 'Write NAME@VERSION' })
    const machine: Machine = { name, address, ...(image ? { image } : {}) }
    if (!options.dryRun) {
      const { addMachine } = await import('../../app/write-config.ts')
      await addMachine(config, clock, machine)
    }
    out.line(`${options.dryRun ? 'Would add' : 'Added'} ${name}, ${formatMachineAddress(address)}`)
    out.document({ schema: 1, dry_run: options.dryRun, machine: describe(machine) })
  },
})

const list = defineCommand({
  description: 'Lists the machines of your configuration.',
  operands: [],
  options: {},
  examples: [
    { line: 'vml machine list', does: 'names, addresses, base images' },
    { line: 'vml machine list --json', does: 'the same for programs' },
    { line: 'vml log --machine lab', does: 'what was recorded of one' },
  ],
  run: ({ config, out }) => {
    const machines = [...config.machines.values()].sort((left, right) => (left.name < right.name ? -1 : 1))
    out.document({ schema: 1, machines: machines.map(describe) })
    for (const line of table(
      machines.map(({ name, address, image }) => [
        out.style.bold(name),
        formatMachineAddress(address),
        image ? formatImageReference(image) : '',
      ]),
    ))
      out.line(line)
    if (machines.length === 0) out.note(`No machine yet: ${waysToAdd()}`)
    return Promise.resolve()
  },
})

const rm = defineCommand({
  description: 'Takes a machine out of your configuration. Its entries stay in the logbook.',
  operands: [operand('NAME', 'the machine', 'machine')],
  options: { dryRun },
  examples: [
    { line: 'vml machine rm lab', does: 'forget its address; keep its entries' },
    { line: 'vml machine rm lab --dry-run', does: 'only look whether there is one' },
    { line: 'vml log --machine lab', does: 'its entries are still there' },
  ],
  async run({ config, clock, out }, { operands: [name = ''], options }) {
    const { findMachine } = await import('../../app/config.ts')
    findMachine(config, name)
    if (!options.dryRun) {
      const { removeMachine } = await import('../../app/write-config.ts')
      await removeMachine(config, clock, name)
    }
    out.line(`${options.dryRun ? 'Would take out' : 'Took out'} ${name}; its entries stay`)
    out.document({ schema: 1, dry_run: options.dryRun, machine: name })
  },
})

export const noun: NounSpec = {
  description: 'Machines that are logged. They stand in your config.toml.',
  verbs: {
    add: { summary: 'add one', load: async () => add },
    list: { summary: 'list them', load: async () => list },
    rm: { summary: 'take one out', load: async () => rm },
  },
}

function describe({ name, address, image }: Machine) {
  return {
    name,
    address: formatMachineAddress(address),
    ...(image ? { image: formatImageReference(image) } : {}),
  }
}
