// Every package manager that VML knows, and the systems of which it takes transactions back; opened by app/ alone.
import { openApk } from './apk.ts'
import { openDpkg } from './dpkg.ts'
import { dpkgSystem } from './dpkg-system.ts'
import { openRpm } from './rpm.ts'
import { openRpmSystem } from './rpm-system.ts'
import type { PackageManager } from './package-manager.ts'
import type { PackageSystem } from './package-system.ts'

export function openPackageManagers(): readonly PackageManager[] {
  return [openDpkg(), openRpm(), openApk()]
}

export function openPackageSystems(): readonly PackageSystem[] {
  return [dpkgSystem, openRpmSystem()]
}
