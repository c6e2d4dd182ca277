// How a fresh machine learns which key may enter: NoCloud (cloud-init, "Datasources: NoCloud") or systemd's system credentials.
import { encodeIso } from '../wire/iso9660.ts'

export interface SeedRequest {
  /** `ssh-ed25519 AAAA… comment`, one line. */
  readonly publicKey: string
  readonly user: string
  readonly hostname: string
  /** Differs for each machine: cloud-init runs once per instance. */
  readonly instance: string
}

// The key stands outside of every home: a home that is restored brings its own authorized_keys, and no entry may hold VML's
// key. Root's own file has it as well, for a guest whose sshd reads no drop-ins.
const keysFile = '/etc/ssh/vml_authorized_keys'
const dropIn = '/etc/ssh/sshd_config.d/10-vml.conf'
const dropInText = `AuthorizedKeysFile .ssh/authorized_keys .ssh/authorized_keys2 ${keysFile}`

/** The image of a CD-ROM or disk that cloud-init takes for its data source. */
export function nocloudSeed({ publicKey, user, hostname, instance }: SeedRequest, date: Date): Buffer {
  const root = { name: 'root', ssh_authorized_keys: [publicKey] }
  const other = { name: user, shell: '/bin/bash', sudo: 'ALL=(ALL) NOPASSWD:ALL', lock_passwd: true }
  // JSON is YAML, and needs no thought about quoting.
  const userData = {
    users: user === 'root' ? [root] : [root, other],
    disable_root: false,
    ssh_pwauth: false,
    write_files: [
      { path: keysFile, content: `${publicKey}\n`, permissions: '0644' },
      { path: dropIn, content: `${dropInText}\n`, permissions: '0644' },
    ],
  }
  const metaData = { 'instance-id': instance, 'local-hostname': hostname }
  const files = [
    { name: 'user-data', content: Buffer.from(`#cloud-config\n${JSON.stringify(userData)}\n`) },
    { name: 'meta-data', content: Buffer.from(`${JSON.stringify(metaData)}\n`) },
  ]
  return encodeIso({ volume: 'cidata', files, date })
}

/** Credentials by name (systemd.system-credentials(7)); `tmpfiles.extra` since systemd 252, the other since 251. */
export function systemdCredentials({ publicKey }: SeedRequest): ReadonlyMap<string, string> {
  return new Map([
    ['ssh.authorized_keys.root', `${publicKey}\n`],
    ['tmpfiles.extra', tmpfilesLine(keysFile, publicKey) + tmpfilesLine(dropIn, dropInText)],
  ])
}

/** tmpfiles.d(5): in an argument, `\n` is a line's end and `%` begins a specifier; a public key has neither. */
function tmpfilesLine(path: string, text: string): string {
  return `f ${path} 0644 root root - ${text}\\n\n`
}
