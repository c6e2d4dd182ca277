// A private S3 server on this host's loopback: Ceph's RADOS gateway with a monitor and a storage in memory: `await using rgw = await startCephRgw()`.
import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { runProgram } from './guest-machine.ts'

/** It is gone when disposed of, and when this process is. */
export interface CephRgw extends AsyncDisposable {
  /** `http://127.0.0.1:PORT`. */
  readonly url: string
  /** The keys of its one user, as programs for S3 take them. */
  readonly environment: Readonly<Record<string, string>>
}

// It takes ten seconds on two busy cores.
const startMsMax = 120_000

export async function startCephRgw(): Promise<CephRgw> {
  const signal = AbortSignal.timeout(startMsMax)
  await using resources = new AsyncDisposableStack()
  const folder = await mkdtemp(join(tmpdir(), 'vml-rgw-'))
  resources.defer(async () => await rm(folder, { recursive: true, force: true, maxRetries: 5 }))
  for (const name of ['mon', 'osd', 'run', 'log']) await mkdir(join(folder, name))
  const [monitorPort, port] = await freePorts()
  const clusterId = randomUUID()
  const conf = join(folder, 'ceph.conf')
  await writeFile(conf, configuration({ folder, clusterId, monitorPort, port }))
  const call = async (program: string, ...args: readonly string[]) =>
    await runProgram(program, ['--conf', conf, ...args])
  const serve = (program: string, ...args: readonly string[]) =>
    resources.use(startDaemon(program, ['--conf', conf, '-f', ...args], folder))

  const keyring = join(folder, 'keyring')
  await runProgram('ceph-authtool', [
    '--create-keyring',
    keyring,
    '--gen-key',
    '-n',
    'mon.',
    '--cap',
    'mon',
    'allow *',
  ])
  const allowed = ['mon', 'osd', 'mgr'].flatMap((what) => ['--cap', what, 'allow *'])
  for (const name of ['client.admin', 'osd.0', 'client.rgw'])
    await runProgram('ceph-authtool', [keyring, '--gen-key', '-n', name, ...allowed])
  const map = join(folder, 'monmap')
  const monitor = `[v2:127.0.0.1:${monitorPort}]`
  await runProgram('monmaptool', ['--create', '--clobber', '--fsid', clusterId, '--addv', 'a', monitor, map])
  await call('ceph-mon', '--mkfs', '-i', 'a', '--monmap', map, '--keyring', keyring)
  serve('ceph-mon', '-i', 'a')
  const storageId = randomUUID()
  await call('ceph', '--connect-timeout', '60', 'osd', 'new', storageId)
  await call('ceph-osd', '-i', '0', '--mkfs', '--osd-uuid', storageId)
  await call('ceph', 'osd', 'crush', 'add', 'osd.0', '1', 'root=default', 'host=h')
  serve('ceph-osd', '-i', '0')
  const gateway = serve('radosgw', '-n', 'client.rgw')
  const url = `http://127.0.0.1:${port}`
  const [accessKey, secretKey] = ['vmltest', 'vmltestsecret']
  await answers(url, gateway, signal)
  const keys = ['--access-key', accessKey, '--secret-key', secretKey]
  await call(
    'radosgw-admin',
    '-n',
    'client.rgw',
    'user',
    'create',
    '--uid',
    'vml',
    '--display-name',
    'vml',
    ...keys,
  )
  const owned = resources.move()
  return {
    url,
    environment: { AWS_ACCESS_KEY_ID: accessKey, AWS_SECRET_ACCESS_KEY: secretKey },
    [Symbol.asyncDispose]: async () => await owned.disposeAsync(),
  }
}

interface Daemon extends AsyncDisposable {
  readonly process: ChildProcess
  readonly said: () => string
}

function startDaemon(program: string, args: readonly string[], cwd: string): Daemon {
  const child = spawn('setpriv', ['--pdeathsig', 'SIGKILL', program, ...args], {
    cwd,
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let said = ''
  child.stderr.on('data', (chunk: Buffer) => (said = (said + chunk.toString()).slice(-64 * 1024)))
  const gone = new Promise<undefined>((resolve) => {
    child.on('close', () => resolve(undefined)).on('error', () => resolve(undefined))
  })
  return {
    process: child,
    said: () => said,
    // Nothing of it is kept, so nothing needs to be written out.
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await gone
    },
  }
}

async function answers(url: string, gateway: Daemon, signal: AbortSignal): Promise<void> {
  for (;;) {
    const there = await fetch(url, { signal }).then(
      (answer) => answer.ok,
      () => false,
    )
    if (there) return
    if (signal.aborted || gateway.process.exitCode !== null)
      throw new Error(`The RADOS gateway does not answer: ${gateway.said()}`)
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

interface Places {
  readonly folder: string
  readonly clusterId: string
  readonly monitorPort: number
  readonly port: number
}

function configuration({ folder, clusterId, monitorPort, port }: Places): string {
  return `[global]
fsid = ${clusterId}
mon_host = [v2:127.0.0.1:${monitorPort}]
ms_bind_ipv4 = true
public_addr = 127.0.0.1
auth_cluster_required = cephx
auth_service_required = cephx
auth_client_required = cephx
keyring = ${folder}/keyring
auth_allow_insecure_global_id_reclaim = false
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 1
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_osd_min_down_reporters = 1
mon_data_avail_crit = 1
mon_data_avail_warn = 1
run_dir = ${folder}/run
admin_socket = ${folder}/run/$name.asok
pid_file = ${folder}/run/$name.pid
log_file = ${folder}/log/$name.log
[mon]
mon_data = ${folder}/mon
[osd]
osd_data = ${folder}/osd
osd_objectstore = memstore
memstore_device_bytes = 1073741824
osd_class_load_list = *
osd_class_default_list = *
[client.rgw]
rgw_frontends = beast endpoint=127.0.0.1:${port}
rgw_thread_pool_size = 32
rgw_run_sync_thread = false
rgw_enable_usage_log = false
rgw_dns_name = localhost
`
}

/** Two ports that nobody uses at this moment. */
async function freePorts(): Promise<readonly [number, number]> {
  const servers = [createServer(), createServer()] as const
  const ports = servers.map(async (server) => {
    await new Promise<undefined>((resolve, reject) => {
      server.on('error', reject).listen(0, '127.0.0.1', () => resolve(undefined))
    })
    const address = server.address()
    if (address === null || typeof address === 'string') throw new Error('A port has no number')
    return address.port
  })
  const [first = 0, second = 0] = await Promise.all(ports)
  await Promise.all(
    servers.map(
      async (server) => await new Promise<undefined>((resolve) => server.close(() => resolve(undefined))),
    ),
  )
  return [first, second]
}
