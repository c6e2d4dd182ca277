// Every package manager that VML knows; opened by app/ alone.
import { openApk } from './apk.ts'
import { openDpkg } from './dpkg.ts'
import { openRpm } from './rpm.ts'
import type { PackageManager } from './package-manager.ts'

export function openPackageManagers(): readonly PackageManager[] {
  return [openDpkg(), openRpm(), openApk()]
}
