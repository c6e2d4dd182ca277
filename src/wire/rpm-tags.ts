// The numbers of rpm's tags that VML reads (rpm, include/rpm/rpmtag.h): of a header, and of the signatures before it.

export const rpmTag = {
  name: 1000,
  version: 1001,
  release: 1002,
  epoch: 1003,
  summary: 1004,
  description: 1005,
  buildTime: 1006,
  vendor: 1011,
  license: 1014,
  group: 1016,
  url: 1020,
  architecture: 1022,
  oldFileNames: 1027,
  fileSizes: 1028,
  fileModes: 1030,
  fileDevices: 1033,
  fileTimes: 1034,
  fileDigests: 1035,
  fileLinkTargets: 1036,
  fileFlags: 1037,
  fileUsers: 1039,
  fileGroups: 1040,
  sourcePackage: 1044,
  fileVolumes: 1095,
  fileInodes: 1096,
  directoryIndexes: 1116,
  baseNames: 1117,
  directoryNames: 1118,
  payloadFormat: 1124,
  payloadCompressor: 1125,
  installTime: 1008,
  longFileSizes: 5008,
  fileCapabilities: 5010,
  fileDigestAlgorithm: 5011,
  payloadDigests: 5092,
  payloadDigestAlgorithm: 5093,
} as const

/** Three tags that stand side by side: names, comparisons, versions. */
export interface RelationTags {
  readonly names: number
  readonly flags: number
  readonly versions: number
}

export const relationTags = {
  provides: { names: 1047, flags: 1112, versions: 1113 },
  requires: { names: 1049, flags: 1048, versions: 1050 },
  conflicts: { names: 1054, flags: 1053, versions: 1055 },
  obsoletes: { names: 1090, flags: 1114, versions: 1115 },
  recommends: { names: 5046, flags: 5048, versions: 5047 },
  suggests: { names: 5049, flags: 5051, versions: 5050 },
  supplements: { names: 5052, flags: 5054, versions: 5053 },
  enhances: { names: 5055, flags: 5057, versions: 5056 },
} as const satisfies Record<string, RelationTags>

/** The text of a script, and its interpreter with arguments. */
export const scriptTags = {
  pre: { text: 1023, program: 1085 },
  post: { text: 1024, program: 1086 },
  preun: { text: 1025, program: 1087 },
  postun: { text: 1026, program: 1088 },
  pretrans: { text: 1151, program: 1153 },
  posttrans: { text: 1152, program: 1154 },
  preuntrans: { text: 5104, program: 5106 },
  postuntrans: { text: 5105, program: 5107 },
  verify: { text: 1079, program: 1091 },
} as const

/** Scripts that run when other packages or files come and go; `indexes` says of each name which script is its. */
export const triggerTags = {
  package: { scripts: 1065, programs: 1092, names: 1066, flags: 1068, versions: 1067, indexes: 1069 },
  file: { scripts: 5066, programs: 5067, names: 5069, flags: 5072, versions: 5071, indexes: 5070 },
  transactionFile: { scripts: 5076, programs: 5077, names: 5079, flags: 5082, versions: 5081, indexes: 5080 },
} as const

/** Of the signature header, whose numbers mean other things than in a header. */
export const signatureTag = {
  dsaHeader: 267,
  rsaHeader: 268,
  sha1: 269,
  longSize: 270,
  sha256: 273,
  openPgp: 278,
  size: 1000,
  pgp: 1002,
  md5: 1004,
  gpg: 1005,
} as const
