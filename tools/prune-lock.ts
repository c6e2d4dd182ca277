// Makes package-lock.json agree with itself after npm has written it: `npm run lock`. Started with --check it only says what is wrong.
// A package may name optional parts for systems that our registry does not have; npm install passes over them, npm ci then refuses the lock.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

interface Lock {
  readonly packages: Readonly<Record<string, { optionalDependencies?: Record<string, string> }>>
}

const file = join(import.meta.dirname, '../package-lock.json')

/** Optional parts that are named but not locked, as `package: part`; `lock` loses them. */
export function pruneLock(lock: Lock): string[] {
  const missing: string[] = []
  for (const [path, { optionalDependencies = {} }] of Object.entries(lock.packages)) {
    for (const name of Object.keys(optionalDependencies)) {
      if (isLocked(lock, path, name)) continue
      missing.push(`${path}: ${name}`)
      delete optionalDependencies[name]
    }
  }
  return missing
}

/** As Node looks for it: in the package's own node_modules, then in those above. */
function isLocked({ packages }: Lock, path: string, name: string): boolean {
  for (let folder = path; ; folder = folder.slice(0, Math.max(0, folder.lastIndexOf('node_modules/') - 1))) {
    if (`${folder === '' ? '' : `${folder}/`}node_modules/${name}` in packages) return true
    if (folder === '') return false
  }
}

if (import.meta.main) {
  const lock = JSON.parse(readFileSync(file, 'utf8')) as Lock
  const missing = pruneLock(lock)
  if (process.argv[2] !== '--check') writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`)
  else if (missing.length > 0) {
    console.error(`npm ci would refuse package-lock.json; type: npm run lock\n${missing.join('\n')}`)
    process.exitCode = 1
  }
}
