// A storyboard as its text: what a card shows of it, and the text after each act on a card. Nothing here knows a page.
// How many frames a stage has, what is stored and what it costs is the server's to say.

import { field, inserted, outline, removed, replaced, source } from './text.js'

export const SCHEMA = 'longtake.storyboard.v1'
export const TRANSITIONS = ['smooth', 'cut', 'fade']
const SEEDS = 2n ** 64n
// Fields of a stage that belong to one transition; with another the document is refused.
const OF_JOIN = { overlap: 'smooth', carry_over: 'smooth', fade_frames: 'fade' }

/**
 * What cards are drawn from; null where the text is no JSON storyboard that can be drawn.
 *
 * Returns `{top, defaults, stages}`: plain values, with seeds as texts, since JavaScript's numbers do not hold them.
 */
export function read(text) {
  const root = outline(text)
  if (root?.kind !== 'object') return null
  const listed = field(root, 'stages')
  const defaults = field(root, 'defaults')
  if (listed?.kind !== 'list' || !listed.parts.every((part) => part.kind === 'object')) return null
  if (defaults && defaults.kind !== 'object') return null
  const board = {
    top: plain(text, root, ['stages', 'defaults']),
    defaults: plain(text, defaults),
    stages: listed.parts.map((stage) => plain(text, stage))
  }
  const words = [board.defaults, ...board.stages].flatMap((of) => [of.prompt, of.prompt_prefix])
  const drawn = (board.top.schema ?? SCHEMA) === SCHEMA && words.every((of) => of === undefined || typeof of === 'string')
  return drawn ? board : null
}

function plain(text, object, without = []) {
  const values = {}
  for (const { name, value } of object?.parts ?? []) {
    if (!without.includes(name)) values[name] = name === 'seed' ? source(text, value) : JSON.parse(source(text, value))
  }
  return values
}

/** How a stage joins the one before it, as the document has it. */
export function transition(board, index) {
  return index === 0 ? 'cut' : (board.stages[index].transition ?? board.defaults.transition ?? 'smooth')
}

/** The seed of a stage, as a text: its own, or the one that follows from its place. */
export function seed(board, index) {
  return board.stages[index].seed ?? String((base(board) + BigInt(index)) % SEEDS)
}

function base(board) {
  const written = board.defaults.seed ?? '0'
  return /^\d+$/.test(written) ? BigInt(written) : 0n
}

/** The text with a field of a stage set to a value, or taken away where that is undefined. */
export function withField(text, index, name, value) {
  return within(text, stageAt(text, index), name, value === undefined ? undefined : JSON.stringify(value))
}

/** The text with the seed of a stage, a text of digits, or without it. */
export function withSeed(text, index, digits) {
  return within(text, stageAt(text, index), 'seed', digits)
}

/** The text with a default set to a value, or taken away. */
export function withDefault(text, name, value) {
  const root = outline(text)
  const defaults = field(root, 'defaults')
  const written = value === undefined ? undefined : JSON.stringify(value)
  if (defaults) return within(text, defaults, name, written)
  if (written === undefined) return text
  const first = root.parts.findIndex((part) => part.name === 'stages')
  return inserted(text, root, Math.max(first, 0), `"defaults": {${JSON.stringify(name)}: ${written}}`)
}

/** The text with another length of a stage, in the unit it is written in; undefined leaves it to the defaults. */
export function withLength(text, index, number) {
  const { stages, defaults } = read(text)
  const inFrames = 'frames' in stages[index] || (!('seconds' in stages[index]) && 'frames' in defaults)
  return withField(text, index, inFrames ? 'frames' : 'seconds', number)
}

/** The transitions a click on a stage's pill goes through: a smooth stage has no start image of its own. */
export function choices(board, index) {
  return 'start_image' in board.stages[index] ? ['cut', 'fade'] : TRANSITIONS
}

/** The text with the next transition, or the one that is named, for a stage. */
export function withTransition(text, index, chosen) {
  const board = read(text)
  const offered = choices(board, index)
  const next = chosen ?? offered[(offered.indexOf(transition(board, index)) + 1) % offered.length]
  for (const [name, owner] of Object.entries(OF_JOIN)) {
    if (owner !== next && name in board.stages[index]) text = withField(text, index, name, undefined)
  }
  return withField(text, index, 'transition', next)
}

/** The text with an image of a stage. A stage that is to begin with one cannot be smooth, and becomes a cut. */
export function withImage(text, index, name, image) {
  const smooth = transition(read(text), index) === 'smooth'
  if (name === 'start_image' && image !== undefined && smooth) text = withTransition(text, index, 'cut')
  return withField(text, index, name, image)
}

/** The text with a new stage before `index`. */
export function withStage(text, index, prompt) {
  return put(text, index, { prompt }, unused(read(text)))
}

/** The text with a stage twice; the copy has another seed, and no take of its own. */
export function duplicated(text, index) {
  const digits = unused(read(text))
  const kept = pinned(text, index + 1)
  const twice = inserted(kept, stages(kept), index + 1, source(kept, stageAt(kept, index)))
  return settled(withField(withSeed(twice, index + 1, digits), index + 1, 'take', undefined))
}

/**
 * The text with a stage as two, one after the other, together as long.
 *
 * @param seconds how long the stage is, as the plan says.
 */
export function split(text, index, seconds) {
  const board = read(text)
  const { stages: written } = board
  const first = Math.round((seconds / 2) * 100) / 100
  const rest = Math.round((seconds - first) * 1e6) / 1e6
  const { prompt, negative_prompt, loras, end_image, soundtrack, prompt_prefix } = written[index]
  const kept = { prompt, prompt_prefix, negative_prompt, seconds: rest, transition: 'smooth', end_image, loras, soundtrack }
  const free = unused(board)
  for (const name of ['frames', 'end_image', 'take']) text = withField(text, index, name, undefined)
  text = withField(text, index, 'seconds', first)
  const second = Object.fromEntries(Object.entries(kept).filter(([, value]) => value !== undefined))
  return put(text, index + 1, second, free)
}

/** The text without a stage; the last one stays. */
export function without(text, index) {
  const kept = pinned(text, index + 1)
  const listed = stages(kept)
  return listed.parts.length > 1 ? settled(removed(kept, listed, index)) : text
}

/** The text with a stage moved, so that it is the one at `to`. */
export function moved(text, from, to) {
  if (from === to) return text
  const kept = pinned(text, Math.min(from, to))
  const stage = source(kept, stages(kept).parts[from])
  const rest = removed(kept, stages(kept), from)
  return settled(inserted(rest, stages(rest), to, stage))
}

function put(text, index, stage, digits) {
  const kept = pinned(text, index)
  const indent = /\n([ \t]*)$/.exec(kept.slice(0, stages(kept).parts[0]?.start))?.[1]
  const open = source(kept, stages(kept).parts[0])?.includes('\n')
  const lines = JSON.stringify({ ...stage, seed: 0 }, null, 2).replace(/"seed": 0(?=\s*}$)/, `"seed": ${digits}`)
  const written = open ? lines.replaceAll('\n', `\n${indent ?? ''}`) : oneLine(lines)
  return settled(inserted(kept, stages(kept), index, written))
}

// Line breaks inside a text are escaped, so that each is one between fields.
function oneLine(lines) {
  return lines.replace(/\n\s*/g, ' ').replace(/^{ | }$/g, (brace) => brace.trim())
}

// Seeds that follow from a stage's place would become others where stages before it come or go, and with them its take.
function pinned(text, from) {
  const board = read(text)
  for (let index = from; index < board.stages.length; index++) {
    if (!('seed' in board.stages[index])) text = withSeed(text, index, seed(board, index))
  }
  return text
}

/** A seed that no stage has, so that two of them do not move alike. */
function unused(board) {
  const used = new Set(board.stages.map((_, index) => seed(board, index)))
  let free = base(board) + BigInt(board.stages.length)
  while (used.has(String(free % SEEDS))) free++
  return String(free % SEEDS)
}

// What a stage says of its join may not fit where it stands now: nothing comes before the first to fade from, and one
// that begins with an image of its own cannot be smooth.
function settled(text) {
  const board = read(text)
  board.stages.forEach((stage, index) => {
    if (index === 0 && stage.transition === 'fade') {
      text = withField(withField(text, 0, 'transition', undefined), 0, 'fade_frames', undefined)
    } else if (index && 'start_image' in stage && transition(board, index) === 'smooth') {
      text = withTransition(text, index, 'cut')
    }
  })
  return text
}

function stages(text) {
  return field(outline(text), 'stages')
}

function stageAt(text, index) {
  return stages(text).parts[index]
}

function within(text, object, name, written) {
  const index = object.parts.findIndex((part) => part.name === name)
  if (written === undefined) return index < 0 ? text : removed(text, object, index)
  if (index < 0) return inserted(text, object, object.parts.length, `${JSON.stringify(name)}: ${written}`)
  const { value } = object.parts[index]
  return replaced(text, value.start, value.end, written)
}
