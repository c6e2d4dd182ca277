// Hooks for the state of services that VML brings, for what the services' own tools do reliably. A file in /etc/vml/state.d of the same name changes them.
import type { StateHookFields } from '../model/state-hook.ts'

/**
 * Each server is started for itself: without a network, on a socket that only root can reach, and stopped again. It reads its machine's settings, so that what is
 * loaded needs there is there.
 */
const privateFolder = `run=$(mktemp -d /var/tmp/vml-state.XXXXXXXX)
trap 'rm -rf "$run"' EXIT
trap 'exit 143' TERM`

/** By cluster, as an archive of NAME.sql, NAME.locale and NAME.auto.conf (pg_dumpall(1), initdb(1), pg_ctl(1)). */
const postgresqlCommon = `set -eu
version=\${VML_PACKAGE#postgresql-}
programs=/usr/lib/postgresql/$version/bin
${privateFolder}
chown postgres: "$run"
chmod 700 "$run"
mkdir "$run/out"
as_postgres() { setpriv --reuid=postgres --regid=postgres --init-groups --inh-caps=-all env HOME="$run" "$@"; }
echo 'local all all trust' >"$run/hba"
chown postgres: "$run/hba" "$run/out"
begin() {
  set -- "$1" "listen_addresses=" "unix_socket_directories=$run" "port=5432" "hba_file=$run/hba" \\
    "external_pid_file=" "logging_collector=off" "ssl=off" "archive_mode=off" "unix_socket_permissions=0700" \\
    "config_file=/etc/postgresql/$version/$1/postgresql.conf"
  cluster=$1
  shift
  options=
  for each; do options="$options -c \\"$each\\""; done
  as_postgres "$programs/pg_ctl" start -w -t 3600 -s -D "$data/$cluster" -l "$run/log" -o "$options" >&2 ||
    { tail -n 5 "$run/log" >&2; exit 1; }
}
end() { as_postgres "$programs/pg_ctl" stop -w -t 3600 -s -m fast -D "$data/$cluster" >&2; }
sql() { as_postgres "$programs/psql" -h "$run" -p 5432 -XAtq -v ON_ERROR_STOP=1 "$@"; }
data=$1
`

const postgresqlExport = `${postgresqlCommon}
for folder in "$data"/*/; do
  [ -e "$folder/PG_VERSION" ] || { echo "$folder is no cluster" >&2; exit 1; }
  name=$(basename "$folder")
  begin "$name"
  sql -d template1 -c "select pg_encoding_to_char(encoding) || ' ' || datcollate || ' ' || datctype from pg_database where datname = 'template0'" >"$run/out/$name.locale"
  as_postgres "$programs/pg_dumpall" -h "$run" -p 5432 --quote-all-identifiers -f "$run/out/$name.sql"
  end
  cp "$folder/postgresql.auto.conf" "$run/out/$name.auto.conf"
done
tar -C "$run/out" -cf - .
`

// pg_dumpall makes the role that made the cluster, too, which is there already.
const postgresqlImport = `${postgresqlCommon}
tar -C "$run/out" -xf -
for file in "$run"/out/*.sql; do
  name=$(basename "$file" .sql)
  read -r encoding collate ctype <"$run/out/$name.locale"
  install -d -m 0700 -o postgres -g postgres "$data/$name"
  as_postgres "$programs/initdb" -D "$data/$name" -E "$encoding" --lc-collate="$collate" --lc-ctype="$ctype" >&2
  # Debian keeps these in /etc/postgresql.
  rm "$data/$name/postgresql.conf" "$data/$name/pg_hba.conf" "$data/$name/pg_ident.conf"
  install -m 0600 -o postgres -g postgres "$run/out/$name.auto.conf" "$data/$name/postgresql.auto.conf"
  begin "$name"
  sed '/^CREATE ROLE "\\{0,1\\}postgres"\\{0,1\\};$/d' "$file" >"$run/restore"
  sql -d postgres -f "$run/restore" >&2
  rm "$run/restore"
  end
done
`

/** Users by their statements, databases by mariadb-dump(1): tables of the server's own differ between versions. */
const mariadbCommon = `set -eu
${privateFolder}
chown mysql: "$run"
begin() {
  setpriv --reuid=mysql --regid=mysql --init-groups mariadbd --datadir="$1" --skip-networking --socket="$run/socket" \\
    --pid-file="$run/pid" --skip-log-bin --skip-slave-start --event-scheduler=off --log-error="$run/log" >&2 &
  server=$!
  until mariadb-admin --no-defaults --socket="$run/socket" ping >/dev/null 2>&1; do
    kill -0 $server || { tail -n 5 "$run/log" >&2; exit 1; }
    sleep 0.2
  done
}
end() {
  mariadb-admin --no-defaults --socket="$run/socket" shutdown >&2
  wait $server
}
`

const mariadbExport = `${mariadbCommon}
begin "$1"
dump() { mariadb-dump --no-defaults --socket="$run/socket" --hex-blob --default-character-set=utf8mb4 "$@"; }
dump --system=users --insert-ignore
databases=$(mariadb --no-defaults --socket="$run/socket" -BNe "select schema_name from information_schema.schemata where schema_name not in ('mysql', 'sys', 'information_schema', 'performance_schema')")
[ -z "$databases" ] || dump --routines --events --triggers --single-transaction --databases $databases
end
`

const mariadbImport = `${mariadbCommon}
mariadb-install-db --user=mysql --datadir="$1" --skip-test-db --auth-root-authentication-method=socket >&2
# By it Debian's scripts know an upgrade from a downgrade.
install -m 0644 -o mysql -g mysql /dev/null "$1/debian-$(echo "$VML_TO" | sed 's/^[0-9]*://; s/^\\([0-9]*\\.[0-9]*\\).*/\\1/').flag"
begin "$1"
mariadb --no-defaults --socket="$run/socket" --default-character-set=utf8mb4 >&2
end
`

/**
 * Configuration and each database that has files, by its number, as an archive of NUMBER.ldif (slapcat(8), slapadd(8)), with the folders that those need. Nothing of a
 * database that lies elsewhere would go into the stage's empty folders: it is named. A folder of configuration is handed over; a file is one of /etc as any other.
 */
const slapdCommon = `set -eu
PATH=$PATH:/usr/sbin
${privateFolder}
mkdir "$run/out"
SLAPD_CONF= SLAPD_USER= SLAPD_GROUP=
[ ! -e /etc/default/slapd ] || . /etc/default/slapd
conf=\${SLAPD_CONF:-/etc/ldap/slapd.d}
if [ -d "$conf" ]; then from=-F; else from=-f; fi
as_slapd() {
  setpriv --reuid="\${SLAPD_USER:-openldap}" --regid="\${SLAPD_GROUP:-openldap}" --init-groups --inh-caps=-all "$@"
}
inside() {
  folder=$1
  shift
  for each; do case $folder/ in "$each"/*) return ;; esac; done
  echo "$folder is none of the data folders: name it in /etc/vml/state.d/slapd.toml" >&2
  exit 1
}
dump() { slapcat $from "$conf" -o ldif-wrap=no -n "$@"; }
count() { grep -c '^dn:' "$1" || :; }
`

const slapdExport = `${slapdCommon}
if [ $from = -F ]; then
  inside "$conf" "$@"
  dump 0 >"$run/out/0.ldif"
  [ "$(count "$run/out/0.ldif")" != 0 ] || { echo "slapcat gave no configuration" >&2; exit 1; }
  folder=$conf
else
  # slapcat reads no configuration from a file.
  folder=$run/config
  mkdir "$folder"
  slaptest -f "$conf" -F "$folder" >&2
fi
slapcat -F "$folder" -o ldif-wrap=no -n 0 -a '(olcDbDirectory=*)' >"$run/databases"
! grep -q '^olcDbDirectory::' "$run/databases" || { echo "A database has a folder with an odd name" >&2; exit 1; }
# What a database within another one has is a cache.
awk '/^dn: / { number = "-"; if (/^dn: olcDatabase=[{][0-9]+[}][a-z]+,cn=config$/) { split($0, part, /[{}]/); number = part[2] } }
  /^olcDbDirectory: / { print number, substr($0, 17) }' "$run/databases" | while read -r number folder; do
  inside "$folder" "$@"
  stat -c '%a %U %G %n' "$folder" >>"$run/out/folders"
  [ "$number" = - ] || dump "$number" >"$run/out/$number.ldif"
done
tar -C "$run/out" -cf - .
`

const slapdImport = `${slapdCommon}
tar -C "$run/out" -xf -
touch "$run/out/folders"
while read -r mode user group folder; do
  mkdir -p "$folder"
  chown "$user:$group" "$folder"
  chmod "$mode" "$folder"
done <"$run/out/folders"
for number in $(ls "$run/out" | sed -n 's/[.]ldif$//p' | sort -n); do
  as_slapd slapadd $from "$conf" -n "$number" <"$run/out/$number.ldif" >&2
  dump "$number" >"$run/again"
  [ "$(count "$run/again")" = "$(count "$run/out/$number.ldif")" ] ||
    { echo "database $number has another number of entries than were exported" >&2; exit 1; }
  rm "$run/again"
done
`

export const stateHookTable: Readonly<Record<string, StateHookFields>> = {
  // The major version is part of the name; within it only versions before the first release differ in form.
  postgresql: {
    package: 'postgresql-*',
    format: '^(?:\\d+:)?(\\d+(?:~(?:alpha|beta|rc)\\d+)?)',
    data: ['/var/lib/postgresql/*'],
    units: ['postgresql@.service'],
    export: postgresqlExport,
    import: postgresqlImport,
    // The other one's clusters stay as they are. An older psql does not know all that a newer pg_dumpall writes, and says so.
    by_hand:
      'pg_createcluster --start {to} from{from} && runuser -u postgres -- pg_dumpall --cluster {from}/main | runuser -u postgres -- psql -Xq --cluster {to}/from{from}',
    export_seconds: 86_400,
    import_seconds: 86_400,
  },
  mariadb: {
    package: 'mariadb-server',
    format: '^(?:\\d+:)?(\\d+\\.\\d+)',
    data: ['/var/lib/mysql'],
    units: ['mariadb.service'],
    export: mariadbExport,
    import: mariadbImport,
    export_seconds: 86_400,
    import_seconds: 86_400,
  },
  slapd: {
    package: 'slapd',
    format: '^(?:\\d+:)?(\\d+\\.\\d+)',
    data: ['/var/lib/ldap', '/etc/ldap/slapd.d'],
    units: ['slapd.service'],
    export: slapdExport,
    import: slapdImport,
    export_seconds: 86_400,
    import_seconds: 86_400,
  },
}
