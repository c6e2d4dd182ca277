// The config file: what a repository is (restic, doc/design.rst, "Repositories"), and VML's mark for its chunker.
import { VmlError } from '../base/failure.ts'
import { parseId, type RepositoryId } from '../model/ids.ts'
import { jsonId, jsonObject, jsonText } from './json-fields.ts'
import { formatPolynomial, isIrreducible, parsePolynomial } from './polynomial.ts'

export interface Config {
  readonly version: 1 | 2
  readonly id: RepositoryId
  readonly polynomial: bigint
  /** `rabin` where restic began the repository: both programs then cut alike, and nothing is stored twice. */
  readonly chunker: 'gear' | 'rabin'
}

/** The chunker as docs/format.md fixes it. Another one gets another name, which older programs refuse to write with. */
const gearName = 'gear-1'

export function encodeConfig({ version, id, polynomial, chunker }: Config): unknown {
  return {
    version,
    id,
    chunker_polynomial: formatPolynomial(polynomial),
    // restic passes over fields that it does not know.
    ...(chunker === 'gear' ? { vml: { chunker: gearName } } : {}),
  }
}

export function parseConfig(value: unknown): Config {
  const json = jsonObject(value, 'config')
  const version = json['version']
  if (version !== 1 && version !== 2) {
    throw new VmlError(
      'unsupported',
      `Cannot open the repository: its version is ${JSON.stringify(version)}`,
      {
        hint: 'A newer program wrote it: update VML',
      },
    )
  }
  const polynomial = parsePolynomial(jsonText(json['chunker_polynomial'], 'chunker_polynomial'))
  if (!isIrreducible(polynomial)) {
    throw new VmlError('integrity.format', '"chunker_polynomial" is not irreducible')
  }
  return {
    version,
    id: jsonId(json['id'], 'id', (text) => parseId<RepositoryId>(text)),
    polynomial,
    chunker: parseChunker(json['vml']),
  }
}

function parseChunker(mark: unknown): 'gear' | 'rabin' {
  if (mark === undefined) return 'rabin'
  const name = jsonText(jsonObject(mark, 'vml')['chunker'], 'vml.chunker')
  if (name === gearName) return 'gear'
  throw new VmlError('unsupported', `Cannot open the repository: it is cut by "${name.slice(0, 32)}"`, {
    hint: 'A newer VML wrote it: update VML',
  })
}
