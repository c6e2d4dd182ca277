// Servers with their data: an installation and an upgrade are taken back, and what was written since stays, unless its going is asked for.
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import {
  type MachineStep,
  type RealMachine,
  renderResult,
  undoRealPackages,
} from '../transaction-packages.ts'

const mariadb = {
  name: 'mariadb-server',
  older: '1:10.11.18-0+deb12u1',
  newer: '1:10.11.19-0+deb12u1',
  sources: [
    'mariadb-server',
    'mariadb-server-core',
    'mariadb-client',
    'mariadb-client-core',
    'mariadb-common',
    'libmariadb3',
  ],
  data: '/var/lib/mysql/mine',
  /** Of a server that is started for it alone. */
  ask: (statements: string) => `set -e
    install -d -o mysql -g mysql /run/mysqld
    mariadbd --user=mysql --skip-networking >/dev/null 2>&1 &
    for turn in $(seq 600); do mariadb-admin ping >/dev/null 2>&1 && break; sleep 0.1; done
    mariadb --batch --skip-column-names -e "${statements}"
    mariadb-admin shutdown
    wait`,
}
const postgresql = {
  name: 'postgresql-15',
  older: '15.18-0+deb12u1',
  newer: '15.20-0+deb12u1',
  sources: ['postgresql-15', 'postgresql-client-15', 'libpq5'],
  data: '/var/lib/postgresql/15/main/base',
  ask: (statements: string) => `set -e
    pg_ctlcluster 15 main start
    cd /
    setpriv --reuid=postgres --regid=postgres --clear-groups psql -qAt -c "${statements}" postgres
    pg_ctlcluster 15 main stop`,
}
const nginx = {
  name: 'nginx',
  older: '1.22.1-9+deb12u9',
  newer: '1.22.1-9+deb12u10',
  sources: ['nginx', 'nginx-common'],
}
type Server = typeof mariadb | typeof postgresql | typeof nginx

function exactly({ sources }: Server, version: string): string[] {
  return ['install', '--allow-downgrades', ...sources.map((name) => `${name}=${version}`)]
}

async function answer(
  { chroot }: RealMachine,
  server: typeof mariadb | typeof postgresql,
  statements: string,
): Promise<string> {
  return (await chroot.sh(server.ask(statements))).stdout
}

/** A database of one's own, with a row; rows come later. */
function beginData(server: typeof mariadb | typeof postgresql): MachineStep {
  return async (machine) => {
    if (server === mariadb)
      await answer(
        machine,
        server,
        'create database mine; create table mine.rows (n int); insert into mine.rows values (1);',
      )
    else await answer(machine, server, 'create table mine (n int); insert into mine values (1);')
  }
}

function addRow(server: typeof mariadb | typeof postgresql): MachineStep {
  return async (machine) =>
    void (await answer(
      machine,
      server,
      server === mariadb ? 'insert into mine.rows values (2);' : 'insert into mine values (2);',
    ))
}

function requireRows(server: typeof mariadb | typeof postgresql): MachineStep {
  return async (machine) => {
    const rows = await answer(
      machine,
      server,
      `select n from mine${server === mariadb ? '.rows' : ''} order by n;`,
    )
    assert.equal(rows, '1\n2\n')
  }
}

const tree: MachineStep = async (machine) => await machine.apt(['install', 'tree'])

for (const server of [mariadb, postgresql])
  test(`${server.name} goes, its data stays; both come back; and with --data all goes that it brought`, async (context) => {
    const result = await undoRealPackages({
      make: async (machine) => await machine.apt(exactly(server, server.older)),
      later: tree,
      // Databases that were made since are nobody's to take away.
      allowed: [
        {
          name: 'data that came since',
          allows: ({ path, kind }) =>
            kind === 'only in one' && /^\/var\/lib\/(?:mysql|postgresql)(?:\/|$)/.test(path),
        },
      ],
      async takeBack(machine, made) {
        const { chroot } = machine
        await beginData(server)(machine)
        await addRow(server)(machine)
        const number = String(made[0]?.number)
        await chroot.vml(['tx', 'undo', number])
        assert.ok(existsSync(join(chroot.path, server.data)))
        assert.equal((await chroot.sh(`dpkg -l ${server.name}`, { mayFail: true })).stdout, '')
        await chroot.vml(['tx', 'redo', number])
        await requireRows(server)(machine)
        await chroot.vml(['tx', 'undo', number, '--data'])
      },
    })
    context.diagnostic(renderResult(`installation of ${server.name}`, result))
    assert.equal(result.difference, '')
  })

for (const server of [mariadb, postgresql])
  test(`an upgrade of ${server.name} is taken back, with what was written before it and since`, async (context) => {
    const result = await undoRealPackages({
      base: async (machine) => {
        await machine.apt(exactly(server, server.older))
        await beginData(server)(machine)
      },
      make: async (machine) => await machine.apt(exactly(server, server.newer)),
      later: async (machine) => {
        await addRow(server)(machine)
        await tree(machine)
      },
      check: requireRows(server),
    })
    context.diagnostic(renderResult(`upgrade of ${server.name}`, result))
    assert.equal(result.difference, '')
  })

test('an installation of nginx is taken back', async (context) => {
  const result = await undoRealPackages({
    make: async (machine) => await machine.apt(exactly(nginx, nginx.older)),
    later: tree,
  })
  context.diagnostic(renderResult('installation of nginx', result))
  assert.equal(result.difference, '')
})

test('an upgrade of nginx is taken back, with configuration that was changed since', async (context) => {
  const result = await undoRealPackages({
    base: async (machine) => await machine.apt(exactly(nginx, nginx.older)),
    make: async (machine) => await machine.apt(exactly(nginx, nginx.newer)),
    later: async (machine) => {
      await tree(machine)
      await machine.chroot.sh(
        'sed -i "s/worker_connections 768/worker_connections 512/" /etc/nginx/nginx.conf',
      )
    },
  })
  context.diagnostic(renderResult('upgrade of nginx', result))
  assert.equal(result.difference, '')
})
