// Debian's own database servers: one is upgraded, used, taken back with the hook that VML brings, used, and brought back.
import { execFile } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'
import { type Chroot, openChroot } from './chroot.ts'
import { mirrorPackages } from './mirror-packages.ts'
import { openPackageArchive } from './package-archive.ts'
import { apt, transactionsOf } from './transaction-bed.ts'

export interface RealServer {
  readonly package: string
  /** Of VML's own hooks: told for this test that each version has a form of its own. */
  readonly hook: string
  /** Statements that make a table, a user and two rows of it; one more row; and ask for all that there is. */
  readonly make: string
  readonly add: (row: number) => string
  readonly ask: string
  /** A line of shell that starts it, gives it what it reads, and stops it. */
  readonly run: string
  /** Other packages that these need. */
  readonly besides?: readonly string[]
}

export const postgresql: RealServer = {
  package: 'postgresql-15',
  hook: 'postgresql',
  make: `create role later login password 'x'; create database shop owner later encoding 'UTF8' template template0;
\\connect shop
create table one (a int primary key, b bytea, c text); insert into one values (1, '\\x00ff27', 'ü''"\\'); select lo_from_bytea(77, '\\x0102');
alter system set work_mem = '5MB';`,
  add: (row) => `\\connect shop\ninsert into one values (${row});`,
  ask: `\\connect shop\nselect * from one order by a; select lo_get(77); show work_mem; \\du later`,
  run: 'pg_ctlcluster 15 main start; runuser -u postgres -- psql -XAtq -v ON_ERROR_STOP=1; pg_ctlcluster 15 main stop',
}

export const mariadb: RealServer = {
  package: 'mariadb-server',
  hook: 'mariadb',
  make: `create database shop; create table shop.one (a int primary key, b blob, c text); insert into shop.one values (1, x'00ff27', 'ü''"\\\\');
create user later@localhost identified by 'x'; grant select on shop.* to later@localhost; create view shop.two as select a from shop.one;
create trigger shop.three before insert on shop.one for each row set new.c = coalesce(new.c, 'by trigger');`,
  add: (row) => `insert into shop.one (a) values (${row});`,
  ask: `select a, hex(b), c from shop.one order by a; select * from shop.two order by a; show grants for later@localhost; select trigger_name, action_statement from information_schema.triggers where trigger_schema = 'shop';`,
  run: `mariadbd-safe --skip-networking >/dev/null 2>&1 & until mariadb-admin ping >/dev/null 2>&1; do sleep 0.2; done
mariadb --default-character-set=utf8mb4 -N; mariadb-admin shutdown; wait`,
}

/** Its statements are lines of shell. A setting, a second database, and what the server itself writes on each entry are state, too. */
export const slapd: RealServer = {
  package: 'slapd',
  besides: ['ldap-utils'],
  hook: 'slapd',
  make: `install -d -m 0750 -o openldap -g openldap /var/lib/ldap/second
ldapmodify -QY EXTERNAL <<end
dn: olcDatabase={1}mdb,cn=config
changetype: modify
replace: olcRootPW
olcRootPW: x
-
add: olcDbIndex
olcDbIndex: mail eq

dn: olcDatabase=mdb,cn=config
changetype: add
objectClass: olcMdbConfig
olcDbDirectory: /var/lib/ldap/second
olcSuffix: dc=second
olcRootDN: cn=admin,dc=second
olcRootPW: x
end
ldapadd -x -D cn=admin,dc=second -w x <<end
dn: dc=second
objectClass: organization
objectClass: dcObject
o: Zweite Straße
end
${addPerson(1)}`,
  add: addPerson,
  ask: `search() { ldapsearch -LLL -x -o ldif-wrap=no "$@"; }
search -D cn=admin,dc=nodomain -w x -b dc=nodomain | sed -n 's/^cn: //p'
search -D cn=admin,dc=nodomain -w x -b dc=nodomain '(cn=*)' + userPassword
search -D cn=admin,dc=second -w x -b dc=second '*' +
ldapsearch -LLL -QY EXTERNAL -b 'olcDatabase={1}mdb,cn=config' olcDbIndex
stat -c '%A %U %n' /var/lib/ldap/second /var/lib/ldap/second/data.mdb`,
  run: `export LDAPURI=ldapi:///; slapd -h ldapi:/// -u openldap -g openldap -F /etc/ldap/slapd.d
until ldapwhoami -QY EXTERNAL >/dev/null 2>&1; do sleep 0.2; done
sh -e 2>&1; id=$(cat /run/slapd/slapd.pid); kill "$id"; while kill -0 "$id" 2>/dev/null; do sleep 0.2; done`,
}

function addPerson(row: number): string {
  return `ldapadd -x -D cn=admin,dc=nodomain -w x <<end
dn: cn=${row},dc=nodomain
objectClass: person
cn: ${row}
sn: ü
userPassword: {SSHA}2yQ
end`
}

export interface ServerStates {
  /** What it answers: with the new version; after the undo; with a further row; after the redo. */
  readonly answers: readonly string[]
  readonly versions: readonly string[]
}

export async function handOver(server: RealServer): Promise<ServerStates> {
  await using chroot = await openChroot({ flavour: 'full' })
  const archive = await openPackageArchive(chroot)
  const words = ['install', server.package, ...(server.besides ?? [])]
  const files = await mirrorPackages(chroot, words)
  await archive.publishFiles(files)
  await apt(chroot, words)
  await chroot.sh('for name in postgresql mariadb slapd; do service $name stop; done', { mayFail: true })
  await archive.publishFiles([await nextVersion(files, server.package)])
  const ask = async (statements: string) => (await chroot.sh(server.run, { input: `${statements}\n` })).stdout
  await ask(server.make)
  await chroot.vml(['tx', 'enable'])
  await apt(chroot, ['install', server.package])
  const number = String((await transactionsOf(chroot))[0]?.number)
  await ask(server.add(2))
  const hook = `/etc/vml/state.d/${server.hook}.toml`
  await chroot.sh(`mkdir -p /etc/vml/state.d; echo "format = '.*'" >${hook}`)
  const answers = [await ask(server.ask)]
  const versions = [await versionOf(chroot, server)]
  await chroot.vml(['tx', 'undo', number])
  versions.push(await versionOf(chroot, server))
  answers.push(await ask(server.ask))
  await ask(server.add(3))
  answers.push(await ask(server.ask))
  await chroot.vml(['tx', 'redo', number])
  versions.push(await versionOf(chroot, server))
  answers.push(await ask(server.ask))
  return { answers, versions }
}

async function versionOf(chroot: Chroot, server: RealServer): Promise<string> {
  return (await chroot.run(['dpkg-query', '-W', '-f', '${Version}', server.package])).stdout
}

/** The same package under a higher version: Debian's archives have one of each. */
async function nextVersion(files: readonly string[], name: string): Promise<string> {
  const file = files.find((each) => basename(each).startsWith(`${name}_`))
  if (file === undefined) throw new Error(`The mirror has no ${name}`)
  const folder = await mkdtemp(join(tmpdir(), 'vml-next-'))
  const run = promisify(execFile)
  await run('dpkg-deb', ['-R', file, join(folder, 'package')])
  const control = join(folder, 'package/DEBIAN/control')
  const text = await readFile(control, 'utf8')
  await writeFile(control, text.replace(/^Version: (.*)$/m, 'Version: $1+next1'))
  await run('dpkg-deb', ['-Znone', '-b', join(folder, 'package'), folder])
  await rm(join(folder, 'package'), { recursive: true })
  const [made = ''] = await readdir(folder)
  return join(folder, made)
}
