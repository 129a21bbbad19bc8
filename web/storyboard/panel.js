// The face of one storyboard: its head line, the film as a strip, its cards, its text.

import { address, notify, queue, settle, upload, wanted, why } from '../server.js'
import { t } from '../words.js'
import * as storyboard from './document.js'
import { button, element, fill, say, written } from './elements.js'
import { Lane } from './lane.js'
import { carried, cost, IDLE, length, progress, share, shownOf, statuses } from './status.js'
import { Takes } from './takes.js'

const FOREIGN = () => t`This text is read as the stages below. To edit them as cards it has to be a JSON storyboard.`
const LINKED = () => t`The storyboard comes over a link; what is shown here is not used.`
// Where there is no plan because of what is connected; the storyboard may be right, and may render.
const UNKNOWN = {
  model: () => t`what is stored is known with a model of Load Wan 2.2, Load LTX-2 or Load Diffusers Folder`,
  sampling: () => t`what is stored is known with settings of Wan Sampling or LTX-2 Sampling`
}
const USUAL_SECONDS = 5 // of a card whose length nobody has said yet

export class Panel {
  /**
   * @param ways `{write(text), show(isText), replan(), wheel(event)}`: how the panel reaches its widget and its node.
   */
  constructor(ways) {
    this.ways = ways
    this.text = ''
    this.board = null
    this.isFixed = false
    this.plan = null
    this.planned = [] // the stages that the plan is of
    this.problem = null
    this.hint = '' // why there is no plan, where nothing is wrong
    this.run = IDLE
    this.isText = false
    this.canDraw = true
    this.read = null // what the server makes of a text that is no JSON storyboard

    this.modes = [t`cards`, t`text`].map((mode, isText) =>
      element('button', { type: 'button', className: 'lt-mode', onclick: () => this.show(Boolean(isText)) }, mode)
    )
    this.film = element('span', { className: 'lt-film' })
    this.cost = element('span', { className: 'lt-cost', role: 'status' })
    const head = element('div', { className: 'lt-top' },
      element('div', { className: 'lt-modes', role: 'group', 'aria-label': t`how the storyboard is shown` }, ...this.modes),
      this.cost)
    this.bar = element('div', { className: 'lt-bar', hidden: true }, element('div'))
    this.strip = element('div', { className: 'lt-strip', 'aria-hidden': 'true' })
    this.whole = button(t`play the film so far`, 'play', () => this.#playOn(0))
    const scale = element('div', { className: 'lt-scale' }, this.whole, this.strip, this.film)
    this.problemLine = element('div', { className: 'lt-problem', role: 'alert', hidden: true })
    this.turn = element('button', { type: 'button', className: 'lt-turn', onclick: () => this.#turn() }, t`turn into a storyboard`)
    this.foreign = element('div', { className: 'lt-foreign', hidden: true },
      element('span'), this.turn)
    this.prefix = element('input', {
      type: 'text', className: 'lt-prefix', placeholder: t`words before every prompt: style, light, who is seen`, spellcheck: false,
      'aria-label': t`words before every prompt`,
      oninput: written((words) => this.#edit(storyboard.withDefault(this.text, 'prompt_prefix', words || undefined))),
      onchange: () => settle()
    })
    this.lane = new Lane((name, index, ...more) => this.#act(name, index, ...more))
    const choose = (index, number) => this.#act('take', index, number)
    this.takes = new Takes({ choose, closed: (index) => this.lane.go(index), changed: ways.replan })
    this.editor = element('textarea', {
      className: 'lt-text', spellcheck: false, 'aria-label': t`storyboard as text`,
      oninput: written((text) => this.#edit(text)), onchange: () => settle()
    })
    this.editor.dataset.captureWheel = 'true'
    this.root = element('div', { className: 'longtake-storyboard' },
      head, this.bar, scale, this.problemLine, this.foreign, this.prefix, this.lane.root, this.editor, this.takes.root)
    // Keys that are pressed here are meant for the cards; ComfyUI would delete the node, or add another.
    this.root.addEventListener('keydown', (event) => {
      if (!isForComfyUI(event)) event.stopPropagation()
    })
    this.root.addEventListener('wheel', (event) => this.#wheel(event), { passive: false })
  }

  /**
   * Show a text that is in the widget now.
   *
   * @param isLinked whether another comes over a link in its place.
   */
  open(text, isLinked = false) {
    if (text !== this.text) this.read = null
    this.text = text
    const own = storyboard.read(text)
    this.board = own ?? storyboard.read(this.read ?? '')
    this.isLinked = isLinked
    this.isFixed = !own || isLinked
    this.draw()
  }

  /** Cards, or the text itself. */
  show(isText) {
    this.isText = isText
    this.ways.show(isText)
    this.draw()
    if (isText) this.editor.focus()
  }

  /** What the server says of the document: a plan or a refusal; and how it reads a text that is no JSON storyboard. */
  told(plan, problem, read) {
    const isOpen = problem && !problem.stage && (this.isLinked || UNKNOWN[problem.field])
    this.hint = isOpen ? (UNKNOWN[problem.field]?.() ?? '') : ''
    if (isOpen) problem = null
    if (isOpen) this.plan = null
    this.problem = problem
    this.read = read ?? this.read
    if (this.isFixed) this.board = storyboard.read(this.read ?? '')
    if (plan) this.plan = plan
    if (plan) this.planned = this.board?.stages ?? []
    this.draw()
  }

  ran(run) {
    this.run = run
    this.draw()
  }

  draw() {
    const isText = this.isText || !this.board
    this.modes.forEach((mode, index) => mode.setAttribute('aria-pressed', String(Boolean(index) === isText)))
    this.modes[0].disabled = !this.board
    say(this.film, this.problem ? '' : length(this.plan))
    say(this.cost, progress(this.run, this.plan) || (this.problem ? '' : cost(this.plan) || this.hint))
    this.bar.hidden = !this.run.active
    this.bar.firstChild.style.width = `${100 * share(this.run)}%`
    const onCard = this.problem?.stage && !isText
    this.problemLine.hidden = !this.problem || onCard
    say(this.problemLine, this.problem?.error ?? '')
    this.foreign.hidden = !this.isFixed || !(this.board || this.isLinked)
    say(this.foreign.firstChild, this.isLinked ? LINKED() : FOREIGN())
    this.turn.hidden = this.isLinked
    this.editor.disabled = this.isLinked
    this.editor.hidden = !isText
    for (const part of [this.whole, this.strip, this.prefix, this.lane.root]) part.hidden = isText
    this.prefix.hidden ||= this.isFixed
    fill(this.editor, this.text)
    if (!isText) this.#drawCards()
  }

  #drawCards() {
    const { board } = this
    fill(this.prefix, board.defaults.prompt_prefix ?? '')
    const all = this.#statuses()
    this.whole.disabled = !all.some(shownOf)
    this.lane.update(board.stages.map((stage, index) => [stage, all[index], this.#shown(stage, index, all[index])]), this.isFixed)
    this.#drawStrip(all)
  }

  #shown(stage, index, status) {
    const { defaults } = this.board
    const unit = 'frames' in stage || (!('seconds' in stage) && 'frames' in defaults) ? 'frames' : 'seconds'
    const planned = unit === 'frames' ? sum(status.stages, 'rendered_frames') : sum(status.stages, 'adds_seconds')
    const image = (name) => name && address('input', name)
    return {
      transition: storyboard.transition(this.board, index),
      seed: storyboard.seed(this.board, index),
      unit,
      length: stage[unit],
      planned: String(defaults[unit] ?? (planned === null ? '' : Math.round(planned * 100) / 100)),
      fallback: Number(stage.seconds ?? defaults.seconds) || USUAL_SECONDS,
      addresses: {
        take: status.take && address('take', status.take),
        clip: shownOf(status) && address('clip', shownOf(status)),
        start: image(stage.start_image ?? (index ? undefined : defaults.start_image)),
        end: image(stage.end_image)
      }
    }
  }

  // The whole film in one line, to scale.
  #drawStrip(all) {
    const parts = all.map((status, index) => {
      const part = this.strip.children[index] ?? element('button', { type: 'button', tabIndex: -1, onclick: () => this.lane.go(index) })
      const looks = [status.kind, String(status.seconds ?? USUAL_SECONDS), `${index + 1}: ${status.text}`]
      if (part.looks?.join() === looks.join()) return part
      part.looks = looks
      ;[part.dataset.kind, part.style.flexGrow, part.title] = looks
      return part
    })
    if (this.strip.children.length !== parts.length) this.strip.replaceChildren(...parts)
  }

  #edit(text) {
    if (text === this.text) return
    this.ways.write(text)
    this.open(text, this.isLinked)
  }

  // An act on a card: the text is changed, and the keyboard follows the stage.
  #act(name, index, ...more) {
    if (name === 'prompt') return this.#edit(storyboard.withField(this.text, index, 'prompt', more[0]))
    if (name === 'settle') return settle()
    if (name === 'go') return this.lane.go(index + more[0])
    if (name === 'play') return this.#play(index)
    if (name === 'takes') return this.#openTakes(index)
    if (name === 'ended') return this.isFilm && this.#playOn(index + 1)
    if (name === 'unplayable') return this.#unplayable(index)
    if (name === 'image' && more[1]) return this.#place(index, ...more)
    if (name === 'approve') return this.#approve(index)
    const act = ACTS[name]
    if (!act) return
    const { text, focus, inPrompt } = act(this.text, index, more, { status: this.#statusOf(index), board: this.board })
    this.#edit(text)
    settle()
    if (focus !== undefined) this.lane.go(focus, inPrompt)
    if (name === 'retake') queue()
  }

  /** Say yes to the take that a stage shows, and let the film go on. */
  async #approve(index) {
    if (!(await wanted('POST', `/longtake/takes/${this.#statusOf(index).take}`, { approved: true }))) return
    this.ways.replan()
    queue()
  }

  #statuses() {
    return carried(this.board.stages, this.planned, statuses(this.planned.length, this.plan, this.run), this.problem)
  }

  #statusOf(index) {
    return this.#statuses()[index]
  }

  #play(index) {
    this.lane.each((card) => card.stop())
    this.isFilm = false
    this.lane.show(index)
    this.lane.card(index)?.run(address('clip', shownOf(this.#statusOf(index))))
  }

  #openTakes(index) {
    const { place, stages } = this.#statusOf(index)
    const [first, stop] = stages[0].shows
    this.takes.open({ index, place, number: this.board.stages[index].take, first, stop })
  }

  /** Play the film from a stage on, as far as it is there. */
  #playOn(from) {
    const next = this.#statuses().findIndex((status, index) => index >= from && shownOf(status))
    this.lane.each((card) => card.stop())
    if (next < 0) return
    this.#play(next)
    this.isFilm = true
  }

  async #unplayable(index) {
    const card = this.lane.card(index)
    const asked = card?.clip.getAttribute('src')
    if (!asked) return
    card.stop()
    notify(t`stage ${index + 1} cannot be played: ${await why(asked)}`)
    if (this.isFilm) this.#playOn(index + 1)
  }

  async #place(index, field, file) {
    const before = this.text
    try {
      const image = await upload(file)
      // Stages may have moved while it was on its way.
      if (this.text !== before && storyboard.read(this.text)?.stages.length !== storyboard.read(before)?.stages.length) {
        return notify(t`${image} is in ComfyUI's input folder; drop it again, the stages have changed meanwhile`)
      }
      this.#edit(storyboard.withImage(this.text, index, field, image))
      settle()
    } catch (error) {
      notify(t`the image was not stored: ${error.message}`)
    }
  }

  #turn() {
    if (!this.read) return
    this.#edit(this.read)
    this.isText = false
    this.draw()
    settle()
  }

  // Over cards that have the keyboard the wheel moves along the film; elsewhere it is the canvas's.
  #wheel(event) {
    const within = event.target.closest('textarea, .lt-lane')
    const scrolls = within && !event.ctrlKey && !event.metaKey && this.root.contains(document.activeElement)
    if (!scrolls) return this.ways.wheel(event)
    event.stopPropagation()
    if (within.matches('textarea') && within.scrollHeight > within.clientHeight) return
    event.preventDefault()
    this.lane.root.scrollLeft += event.deltaX + event.deltaY
  }
}

// Text after each act, and the stage that has the keyboard then.
const ACTS = {
  transition: (text, index) => ({ text: storyboard.withTransition(text, index) }),
  length: (text, index, [written]) => ({ text: storyboard.withLength(text, index, written === '' ? undefined : Number(written)) }),
  seed: (text, index, [digits]) => ({ text: /^\d*$/.test(digits) ? storyboard.withSeed(text, index, plainDigits(digits)) : text }),
  reroll: (text, index) => ({ text: storyboard.withSeed(text, index, randomSeed()) }),
  retake: (text, index) => ({ text: storyboard.withSeed(text, index, randomSeed()), focus: index }),
  image: (text, index, [field]) => ({ text: storyboard.withImage(text, index, field, undefined) }),
  lock: (text, index, _, { status, board }) => ({
    text: storyboard.withField(text, index, 'take', 'take' in board.stages[index] ? undefined : (status.number ?? undefined))
  }),
  take: (text, index, [number]) => ({ text: storyboard.withField(text, index, 'take', number) }),
  add: (text, index, _, { board }) => ({ text: storyboard.withStage(text, index, likeBefore(board, index)), focus: index, inPrompt: true }),
  insert: (text, index, _, { board }) => ({ text: storyboard.withStage(text, index, likeBefore(board, index)), focus: index, inPrompt: true }),
  duplicate: (text, index) => ({ text: storyboard.duplicated(text, index), focus: index + 1 }),
  split: (text, index, _, { status, board }) => ({
    text: storyboard.split(text, index, status.seconds ?? Number(board.stages[index].seconds ?? board.defaults.seconds ?? USUAL_SECONDS)),
    focus: index + 1
  }),
  delete: (text, index) => ({ text: storyboard.without(text, index), focus: index }),
  move: (text, index, [to]) => ({ text: storyboard.moved(text, index, to), focus: to }),
  shift(text, index, [by], { board }) {
    const to = Math.max(0, Math.min(index + by, board.stages.length - 1))
    return { text: storyboard.moved(text, index, to), focus: to }
  }
}

// A new stage goes on with the words of the one before, selected to be written over: a prompt that is empty is refused,
// and with it all that is known of the others.
function likeBefore({ stages, defaults }, index) {
  return (stages[index - 1] ?? stages[index])?.prompt ?? (defaults.prompt ? undefined : t`what is to be seen`)
}

function plainDigits(digits) {
  return digits === '' ? undefined : String(BigInt(digits))
}

function randomSeed() {
  const [high, low] = crypto.getRandomValues(new Uint32Array(2))
  return String((BigInt(high >>> 11) << 32n) | BigInt(low))
}

function sum(stages, name) {
  return stages.length ? stages.reduce((total, stage) => total + stage[name], 0) : null
}

// Undo, redo, save, queue and the like work from the cards too, but not while something is written.
function isForComfyUI(event) {
  const isWriting = /^(INPUT|TEXTAREA)$/.test(event.target.tagName)
  return (event.ctrlKey || event.metaKey) && (!isWriting || ['Enter', 's', 'S'].includes(event.key))
}
