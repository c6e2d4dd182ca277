// What this machine is called in records of its own.
import { isMachineName } from '../model/machine.ts'
import type { Config } from './config.ts'

/** Every name that whoever works here gives this machine, and its own. The first one is what new records have. */
export function ownNames({ machines, hostName }: Pick<Config, 'machines' | 'hostName'>): ReadonlySet<string> {
  const given = [...machines.values()].filter(({ address }) => address.kind === 'local')
  return new Set([...given.map(({ name }) => name), nameOfHost(hostName)])
}

function nameOfHost(hostName: string): string {
  const plain = hostName.replaceAll(/[^A-Za-z0-9._-]/g, '-')
  return isMachineName(plain) ? plain : 'this-host'
}
