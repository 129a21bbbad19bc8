// What the cards make of a storyboard's text: node --test tests/web/

import assert from 'node:assert/strict'
import { test } from 'node:test'

import * as document from '../../web/storyboard/document.js'
import { outline } from '../../web/storyboard/text.js'

const BOARD = `{
  "schema": "longtake.storyboard.v1",
  "mine": {"of": [1, 2.50, "\\u00e9"]},
  "defaults": {"seconds": 5, "seed": 18446744073709551615},
  "stages": [
    {"prompt": "a fox", "start_image": "fox.png"},
    {"prompt": "it stops", "transition": "fade", "fade_frames": 9},
    {"prompt": "it runs", "seed": 12345678901234567890}
  ]
}`

const prompts = (text) => document.read(text).stages.map((stage) => stage.prompt)
const seeds = (text) => document.read(text).stages.map((_, index) => document.seed(document.read(text), index))

test('a field that is set leaves the rest of the text as it was', () => {
  const changed = document.withField(BOARD, 1, 'prompt', 'it "stops"\nand é')
  assert.equal(changed, BOARD.replace('"it stops"', '"it \\"stops\\"\\nand é"'))
  assert.equal(document.withField(changed, 1, 'prompt', 'it stops'), BOARD)
})

test('a new field is written as its neighbours are', () => {
  assert.equal(
    document.withField(BOARD, 2, 'seconds', 2.5),
    BOARD.replace('12345678901234567890}', '12345678901234567890, "seconds": 2.5}')
  )
  const open = '{\n  "stages": [\n    {\n      "prompt": "a"\n    }\n  ]\n}'
  assert.equal(
    document.withField(open, 0, 'seed', 3),
    '{\n  "stages": [\n    {\n      "prompt": "a",\n      "seed": 3\n    }\n  ]\n}'
  )
})

test('a field that is taken away goes with its comma', () => {
  assert.equal(document.withField(BOARD, 0, 'start_image'), BOARD.replace(', "start_image": "fox.png"', ''))
  assert.equal(document.withField(BOARD, 0, 'prompt'), BOARD.replace('"prompt": "a fox", ', ''))
  assert.equal(document.withField(BOARD, 0, 'take'), BOARD)
})

test('seeds are those of the pack, also where JavaScript has no such number', () => {
  assert.deepEqual(seeds(BOARD), ['18446744073709551615', '0', '12345678901234567890'])
})

test('stages that come or go leave the seeds of the others, and a new one moves like none of them', () => {
  const more = document.withStage(BOARD, 1, 'it waits')
  assert.deepEqual(prompts(more), ['a fox', 'it waits', 'it stops', 'it runs'])
  assert.deepEqual(seeds(more), ['18446744073709551615', '2', '0', '12345678901234567890'])
  assert.match(more, /\n {4}\{"prompt": "it waits", "seed": 2\},\n/)
  const less = document.without(BOARD, 0)
  assert.deepEqual(seeds(less), ['0', '12345678901234567890'])
})

test('a stage put at the end is the last, and the only one stays', () => {
  assert.deepEqual(prompts(document.withStage(BOARD, 3, 'end')), ['a fox', 'it stops', 'it runs', 'end'])
  const one = '{"stages": [{"prompt": "a"}]}'
  assert.equal(document.without(one, 0), one)
  assert.deepEqual(prompts(document.withStage('{"stages": []}', 0, 'a')), ['a'])
})

test('a moved stage keeps all it says but what cannot stand in its new place', () => {
  const moved = document.moved(BOARD, 1, 0)
  assert.deepEqual(prompts(moved), ['it stops', 'a fox', 'it runs'])
  assert.deepEqual(seeds(moved), ['0', '18446744073709551615', '12345678901234567890'])
  const { stages } = document.read(moved)
  assert.deepEqual(stages[0], { prompt: 'it stops', seed: '0' })
  // A smooth stage begins with the end of the one before it, so one that has an image is a cut.
  assert.equal(stages[1].transition, 'cut')
  assert.equal(document.moved(BOARD, 2, 2), BOARD)
})

test('any row of moves keeps every stage once and the text a document', () => {
  let text = BOARD
  for (const [from, to] of [[0, 2], [2, 1], [1, 0], [2, 0], [0, 1]]) {
    text = document.moved(text, from, to)
    assert.ok(outline(text))
    assert.deepEqual(prompts(text).sort(), ['a fox', 'it runs', 'it stops'])
    assert.match(text, /"mine": \{"of": \[1, 2\.50, "\\u00e9"\]\}/)
  }
})

test('a copy stands behind its stage, with a seed of its own and no take', () => {
  const twice = document.duplicated(document.withField(BOARD, 2, 'take', 3), 2)
  assert.deepEqual(prompts(twice).slice(2), ['it runs', 'it runs'])
  assert.deepEqual(document.read(twice).stages[3], { prompt: 'it runs', seed: '2' })
})

test('a stage is split into two as long together', () => {
  const text = document.withField(document.withField(BOARD, 0, 'end_image', 'end.png'), 0, 'frames', 81)
  const { stages } = document.read(document.split(text, 0, 5.0625))
  assert.deepEqual(stages[0], { prompt: 'a fox', start_image: 'fox.png', seconds: 2.53 })
  assert.deepEqual(stages[1], {
    prompt: 'a fox', seconds: 2.5325, transition: 'smooth', end_image: 'end.png', seed: '2'
  })
})

test('the pill goes through the transitions, and takes along what belongs to one', () => {
  assert.deepEqual(document.read(document.withTransition(BOARD, 1)).stages[1], { prompt: 'it stops', transition: 'smooth' })
  assert.equal(document.read(document.withTransition(BOARD, 2)).stages[2].transition, 'cut')
  const withImage = document.withImage(BOARD, 2, 'start_image', 'c.png')
  assert.equal(document.read(withImage).stages[2].transition, 'cut')
  assert.equal(document.read(document.withTransition(document.withTransition(withImage, 2), 2)).stages[2].transition, 'cut')
})

test('a length is written in the unit it has', () => {
  assert.equal(document.read(document.withLength(BOARD, 0, 3)).stages[0].seconds, 3)
  const frames = document.withDefault(document.withDefault(BOARD, 'seconds'), 'frames', 81)
  assert.equal(document.read(document.withLength(frames, 0, 49)).stages[0].frames, 49)
  assert.equal('frames' in document.read(document.withLength(frames, 0)).stages[0], false)
})

test('words before every prompt are a default, made where there are none', () => {
  assert.equal(document.read(document.withDefault(BOARD, 'prompt_prefix', 'film,')).defaults.prompt_prefix, 'film,')
  assert.equal(
    document.withDefault('{"stages": [{"prompt": "a"}]}', 'prompt_prefix', 'film,'),
    '{"defaults": {"prompt_prefix": "film,"}, "stages": [{"prompt": "a"}]}'
  )
})

test('what is no storyboard in JSON is not drawn', () => {
  for (const text of [
    '', 'a fox', '[1]', '{', '{"stages": 3}', '{"stages": [3]}', '{"stages": [{"prompt": 3}]}', '{"a": 01, "stages": []}',
    '{"schema": "mold.chain.v1", "stages": []}', '{"defaults": [], "stages": []}', '{"stages": [],}', '{"a": NaN, "stages": []}',
    `{"a": ${'['.repeat(500)}${']'.repeat(500)}, "stages": []}`
  ]) {
    assert.equal(document.read(text), null, text.slice(0, 60))
  }
})
