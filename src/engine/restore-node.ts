// What a restore to this host keeps of a stored path: there may be a million of them in memory at once.
import type { TreeNode } from '../model/tree.ts'

/**
 * Without names of owners and times that are never written here. Where a file came from is kept for what can be asked of it:
 * which names are one file, and on the same machine, whether it was touched since.
 */
export function neededOf(node: TreeNode, { sameMachine }: { readonly sameMachine: boolean }): TreeNode {
  const { name, type, mode, uid, gid, mtimeNs, ctimeNs, inode, deviceId, links, linkTarget } = node
  const isNamedTwice = type !== 'dir' && (links ?? 1) > 1
  // A slice holds as much as there is; what was parsed has room for more.
  const content = node.content?.slice()
  // One form for the many: V8 keeps the properties of such objects within them.
  if (type === 'file' && content && !isNamedTwice && !sameMachine && !node.xattrs)
    return { name, type, mode, uid, gid, mtimeNs, size: node.size ?? 0, content }
  return {
    name,
    type,
    mode,
    uid,
    gid,
    mtimeNs,
    ...(type === 'file' && node.size !== undefined ? { size: node.size } : {}),
    ...(content === undefined ? {} : { content }),
    ...(linkTarget === undefined ? {} : { linkTarget }),
    ...(node.device === undefined ? {} : { device: node.device }),
    ...(node.xattrs === undefined ? {} : { xattrs: node.xattrs }),
    ...(node.subtree === undefined ? {} : { subtree: node.subtree }),
    ...(!sameMachine || ctimeNs === undefined ? {} : { ctimeNs }),
    ...((!sameMachine && !isNamedTwice) || inode === undefined ? {} : { inode }),
    ...(!isNamedTwice || deviceId === undefined ? {} : { deviceId }),
    ...(!isNamedTwice || links === undefined ? {} : { links }),
  }
}
