import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openersOf } from './line-scopes.ts'

const files: readonly (readonly [string, readonly (readonly [string, number])[]])[] = [
  [
    'headers, whatever is indented how',
    [
      ['a=1', -1],
      ['[x]', -1],
      ['  b=1', 1],
      ['c=1', 1],
      ['# [y]', 1],
      [' [ z ] ; a comment', -1],
      ['d=1', 5],
    ],
  ],
  [
    'the Match and Host of ssh, without and with indentation',
    [
      ['Port 22', -1],
      ['Match User guest', -1],
      ['X11Forwarding no', 1],
      ['Match all', -1],
      ['    PasswordAuthentication no', 3],
      ['Host *', -1],
      ['User me', 5],
    ],
  ],
  [
    'tags of apache, in each other',
    [
      ['<VirtualHost *:80>', -1],
      ['ServerName a', 0],
      ['<Directory /srv>', 0],
      ['Require all denied', 2],
      ['</Directory>', 2],
      ['DocumentRoot /srv', 0],
      ['</VirtualHost>', 0],
      ['Timeout 10', -1],
    ],
  ],
  [
    'braces, whatever is indented how',
    [
      ['http {', -1],
      ['server { # one {', 0],
      ['        listen 80;', 1],
      ['location / { deny all; }', 1],
      ['}', 1],
      ['gzip on;', 0],
      ['}', 0],
      ['user www;', -1],
    ],
  ],
  [
    "YAML's indents and lists",
    [
      ['network:', -1],
      ['  routes:', 0],
      ['  - to: default', 1],
      ['    via: 10.0.0.1', 2],
      ['  version: 2', 0],
      ['', 4],
      ['hosts:', -1],
      ['- a', 6],
    ],
  ],
]

for (const [name, lines] of files) {
  test(`each line has the line that opens its block: ${name}`, () => {
    const openers = openersOf(lines.map(([text]) => `${text}\n`))
    // What a comment or a blank line stands in is asked by nobody.
    const isAsked = (index: number) => !/^\s*(?:#|$)/.test(lines[index]?.[0] ?? '')
    assert.deepEqual(
      openers.filter((_, index) => isAsked(index)),
      lines.filter((_, index) => isAsked(index)).map(([, opener]) => opener),
    )
  })
}

test('what closes more than is open, and a line of nothing but braces, are borne', () => {
  assert.deepEqual(openersOf(['}\n', '</a>\n', `${'{'.repeat(1_000_000)}\n`, 'x\n']), [-1, -1, -1, 2])
})
