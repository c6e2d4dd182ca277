// What services keep for their users: never overwritten by an undo once it changed after k, unless that was asked for.
import { pathParts, joinPath, rootPath, type RawPath } from './raw-path.ts'

/** Below /var/lib, but the system's own books, which are merged or restored; a name that is missing here is only treated with more care. */
const systemFolders: ReadonlySet<string> = new Set([
  'alternatives', 'apt', 'apt-xapian-index', 'aspell', 'binfmts', 'ca-certificates-java', 'command-not-found', 'dbus',
  'dictionaries-common', 'dkms', 'dnf', 'doc-base', 'dpkg', 'emacsen-common', 'ghostscript', 'grub', 'initramfs-tools',
  'ispell', 'locales', 'logrotate', 'man-db', 'misc', 'mlocate', 'os-prober', 'PackageKit', 'pam', 'plocate', 'polkit-1',
  'python', 'rpm', 'sgml-base', 'shells.state', 'systemd', 'tasksel', 'tex-common', 'texmf', 'ucf', 'update-notifier',
  'update-rc.d', 'usbutils', 'vim', 'vml', 'xfonts', 'xml-core', 'yum',
]) // prettier-ignore

/**
 * The folder that holds a service's data with this path, such as `/var/lib/postgresql`; undefined where it is none. All data below it
 * belongs together: where one path of it changed after k, the others are of another time, and none of them may be put back alone.
 */
export function dataFolderOf(path: RawPath): RawPath | undefined {
  const [top, second, service] = pathParts(path)
  if (top !== 'var' || second !== 'lib' || service === undefined || systemFolders.has(service))
    return undefined
  return joinPath(joinPath(joinPath(rootPath, top), second), service)
}

/** `isPackaged`: the path is in a package's list of files, so it comes with the package and not from the service. */
export function isData(path: RawPath, isPackaged: (path: RawPath) => boolean): boolean {
  return dataFolderOf(path) !== undefined && !isPackaged(path)
}
