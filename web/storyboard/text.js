// JSON as it is written: where each value stands in the text, so that one of them can be changed and the rest stays as
// somebody wrote it: order, unknown fields, line breaks, and numbers too large for JavaScript.

const SPACE = /[ \t\r\n]*/y
const SCALAR = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y
const DEEPEST = 100

/**
 * What a JSON text is made of; null where it is none.
 *
 * A value is `{kind, start, end}`, `kind` one of object, list and scalar. The `parts` of an object are
 * `{name, start, end, value}`, those of a list are its values; `start` and `end` are offsets in the text.
 */
export function outline(text) {
  const reader = { text, at: 0 }
  skip(reader, SPACE)
  const root = value(reader, 0)
  skip(reader, SPACE)
  return root && reader.at === text.length ? root : null
}

function skip(reader, pattern) {
  pattern.lastIndex = reader.at
  const match = pattern.exec(reader.text)
  if (!match) return null
  reader.at = pattern.lastIndex
  return match[0]
}

function value(reader, depth) {
  const start = reader.at
  const opening = reader.text[start]
  if (opening === '{' || opening === '[') return depth < DEEPEST ? group(reader, depth, opening === '{') : null
  return skip(reader, SCALAR) === null ? null : { kind: 'scalar', start, end: reader.at }
}

function group(reader, depth, isObject) {
  const [closing, read] = isObject ? ['}', member] : [']', value]
  const start = reader.at++
  const parts = []
  skip(reader, SPACE)
  while (reader.text[reader.at] !== closing || parts.length) {
    const part = read(reader, depth + 1)
    if (!part) return null
    parts.push(part)
    skip(reader, SPACE)
    if (reader.text[reader.at] !== ',') break
    reader.at++
    skip(reader, SPACE)
  }
  if (reader.text[reader.at] !== closing) return null
  reader.at++
  return { kind: isObject ? 'object' : 'list', start, end: reader.at, parts }
}

function member(reader, depth) {
  const start = reader.at
  const name = reader.text[start] === '"' ? skip(reader, SCALAR) : null
  skip(reader, SPACE)
  if (name === null || reader.text[reader.at] !== ':') return null
  reader.at++
  skip(reader, SPACE)
  const inner = value(reader, depth)
  return inner && { name: JSON.parse(name), start, end: inner.end, value: inner }
}

/** The value of an object's field, or undefined. */
export function field(object, name) {
  return object?.kind === 'object' ? object.parts.find((part) => part.name === name)?.value : undefined
}

/** A value of the text as it is written there. */
export function source(text, node) {
  return node && text.slice(node.start, node.end)
}

export function replaced(text, start, end, by) {
  return text.slice(0, start) + by + text.slice(end)
}

/** The text with a part put into an object or a list, in the way its other parts are written. */
export function inserted(text, group, index, part) {
  const { parts } = group
  if (!parts.length) return replaced(text, group.start + 1, group.end - 1, part)
  const lead = text.slice(group.start + 1, parts[0].start)
  const between = lead.includes('\n') ? lead : ' '
  return index < parts.length
    ? replaced(text, parts[index].start, parts[index].start, `${part},${between}`)
    : replaced(text, parts.at(-1).end, parts.at(-1).end, `,${between}${part}`)
}

/** The text without one part of an object or a list. */
export function removed(text, { start, end, parts }, index) {
  if (parts.length === 1) return replaced(text, start + 1, end - 1, '')
  return index
    ? replaced(text, parts[index - 1].end, parts[index].end, '')
    : replaced(text, parts[0].start, parts[1].start, '')
}
