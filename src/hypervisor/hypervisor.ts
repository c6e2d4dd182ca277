// Hypervisors: what starts virtual machines from base images. One interface, one driver per hypervisor (V61).
import type { ImageRecord, ImageSeed } from '../model/image.ts'

export interface HypervisorCapabilities {
  /** How a fresh machine can be told the key that may enter. */
  readonly seeds: readonly ImageSeed[]
  /** `restricted`: the guest reaches neither the network nor this host; only the forward to its ssh server works. */
  readonly networks: readonly MachineNetwork[]
  /** Images that start by a kernel and an initrd beside the disk. */
  readonly directKernel: boolean
  readonly architectures: readonly string[]
}

export type MachineNetwork = 'user' | 'restricted'

export interface HypervisorFacts {
  readonly version: string
  /** What really runs guests here: decided by booting, not by what can be opened. */
  readonly accelerator: 'kvm' | 'tcg'
  /** Why it is not the faster one. */
  readonly reason?: string
  readonly machineType: string
  readonly cpu: string
}

export interface MachineSpec {
  /** Names its folder: see `isMachineName` of the model. */
  readonly name: string
  readonly image: ImageRecord
  /** Whole files of the image on this host; never written to. */
  readonly paths: { readonly disk: string; readonly kernel?: string; readonly initrd?: string }
  readonly memoryMiB: number
  /** Whom the key lets in besides root. */
  readonly user: string
  readonly hostname: string
  readonly network: MachineNetwork
}

/** What `ssh` needs to enter. The private key and the known hosts are the machine's own files. */
export interface SshAccess {
  readonly host: '127.0.0.1'
  readonly port: number
  readonly identityFile: string
  readonly knownHostsFile: string
  /** Under which the host key is known, whatever the port. */
  readonly hostKeyAlias: string
  /** `ssh-ed25519 AAAA…`: what lets the private key in. */
  readonly publicKey: string
  /** Who can enter on a fresh machine: always `root`, where the image takes a seed. */
  readonly seededUsers: readonly string[]
}

/**
 * `unfinished`: its creation or removal was cut off; only `remove` helps. `running` is said of nothing but a
 * process that was proven to be this machine's.
 */
export type MachineState = 'running' | 'stopped' | 'unfinished'

export interface MachineStatus {
  readonly name: string
  readonly state: MachineState
  readonly image?: { readonly name: string; readonly version: string; readonly sha256: string }
  readonly user?: string
  readonly network?: MachineNetwork
  readonly accelerator?: 'kvm' | 'tcg'
  /** While it is running. */
  readonly pid?: number
  /** Where its ssh server is forwarded to, since the last start. */
  readonly sshPort?: number
  /** What the guest wrote on its console. */
  readonly consoleFile?: string
}

export interface HypervisorOptions {
  readonly signal?: AbortSignal | undefined
}

export interface Hypervisor {
  readonly id: string
  readonly capabilities: HypervisorCapabilities
  /** What there is on this host; `unsupported` says what is missing. The answer is kept until the host restarts. */
  probe(options?: HypervisorOptions): Promise<HypervisorFacts>
  list(): Promise<MachineStatus[]>
  /** `not-found` when there is no machine of this name. */
  status(name: string): Promise<MachineStatus>
  /** Makes a machine on an overlay over the image, with its own key. `exists` when the name is taken; a failure leaves nothing. */
  create(spec: MachineSpec, options?: HypervisorOptions): Promise<MachineStatus>
  /** Starts it detached: it outlives VML. Nothing happens when it is running already. */
  start(name: string, options?: HypervisorOptions): Promise<MachineStatus>
  /** `acpi` presses the power button and, after `timeoutMs` (default 60,000), ends it all the same. */
  stop(
    name: string,
    options: HypervisorOptions & { readonly mode: 'acpi' | 'kill'; readonly timeoutMs?: number },
  ): Promise<MachineStatus>
  /** Removes what `create` and `start` made, and nothing else; `conflict` while it is running. Gives the names it left in place. */
  remove(name: string): Promise<{ readonly leftInPlace: readonly string[] }>
  access(name: string): Promise<SshAccess>
  /** Waits until the guest's ssh server greets; `unavailable.timeout` with the end of the console, at once when the machine ended. */
  waitForSsh(name: string, options?: HypervisorOptions & { readonly timeoutMs?: number }): Promise<SshAccess>
}
