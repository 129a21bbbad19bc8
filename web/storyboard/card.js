// One stage as a card. It shows what it is given and says what is done to it; it keeps nothing.

import { t } from '../words.js'
import { button, element, fill, say, written } from './elements.js'

const WORDS = {
  smooth: () => t`smooth: goes on from the end of the stage before`,
  cut: () => t`cut: begins anew`,
  fade: () => t`fade: blends over from the stage before`
}
const TRANSITIONS = { smooth: () => t`smooth`, cut: () => t`cut`, fade: () => t`fade` }
const SIGNS = { stored: 'check-circle', waits: 'pause-circle', new: 'circle', held: 'hourglass', left: 'minus-circle', older: 'history', rendering: 'spinner', failed: 'exclamation-triangle', unknown: 'question-circle' }

export class Card {
  /**
   * @param act called with the name of an act, the number of the stage counted from 0, and what it is done with.
   */
  constructor(act) {
    this.index = 0
    const does = (name, ...more) => act(name, this.index, ...more)
    this.number = element('span', { className: 'lt-number' })
    this.pill = element('button', { type: 'button', className: 'lt-pill', onclick: () => does('transition') })
    this.length = element('input', { type: 'number', min: 0, step: 'any', className: 'lt-length', onchange: () => does('length', this.length.value) })
    this.unit = element('span', { className: 'lt-unit', 'aria-hidden': 'true' })
    this.grip = element('span', { className: 'lt-grip', ondblclick: () => does('open'), title: t`drag to move; Alt with an arrow key moves it too` }, this.number)
    this.head = element('div', { className: 'lt-head' }, this.grip, this.pill, element('span', { className: 'lt-space' }), this.length, this.unit)

    this.picture = element('img', { className: 'lt-picture', alt: '', loading: 'lazy', draggable: false, onerror: () => (this.picture.hidden = true) })
    this.play = button(t`play`, 'play', () => does('play'))
    this.play.classList.add('lt-play')
    this.clip = element('video', { className: 'lt-clip', hidden: true, controls: true, playsInline: true, onended: () => does('ended'), onerror: () => does('unplayable') })
    this.start = slot('start', does)
    this.end = slot('end', does)
    this.view = element('div', { className: 'lt-view' }, this.picture, this.start.root, this.end.root, this.play, this.clip)

    this.prompt = element('textarea', {
      className: 'lt-prompt', placeholder: t`what is to be seen`, spellcheck: false,
      oninput: written((words) => does('prompt', words)), onchange: () => does('settle')
    })
    this.prompt.dataset.captureWheel = 'true'
    this.seed = element('input', { type: 'text', inputMode: 'numeric', className: 'lt-seed', onchange: () => does('seed', this.seed.value.trim()) })
    this.again = button(t`another seed`, 'sync', () => does('reroll'))
    this.loras = element('span', { className: 'lt-loras' })
    this.lock = button(t`lock`, 'lock-open', () => does('lock'))
    this.takes = button(t`takes`, 'images', () => does('takes'))
    const tools = element(
      'div', { className: 'lt-tools' },
      button(t`insert a stage before`, 'plus', () => does('insert')), button(t`duplicate`, 'copy', () => does('duplicate')),
      button(t`split in two`, 'arrows-h', () => does('split')), this.takes, this.lock, button(t`delete`, 'trash', () => does('delete'))
    )
    const numbers = element('div', { className: 'lt-row' }, element('label', { className: 'lt-label' }, t`seed`, this.seed), this.again, this.loras)
    this.sign = element('i', { 'aria-hidden': 'true' })
    this.status = element('span', { className: 'lt-said' })
    this.yes = element('button', { type: 'button', className: 'lt-turn lt-yes', onclick: () => does('approve') }, t`yes, go on`)
    this.other = element('button', { type: 'button', className: 'lt-turn', onclick: () => does('retake') }, t`another take`)
    this.ask = element('div', { className: 'lt-row' }, this.yes, this.other)
    const foot = element('div', { className: 'lt-foot' }, element('div', { className: 'lt-status' }, this.sign, this.status), this.ask, tools)
    this.root = element('div', { className: 'lt-card', role: 'listitem', tabIndex: 0, onkeydown: (event) => keys(event, this, does) },
      this.head, this.view, this.prompt, numbers, foot)
    this.editable = [this.pill, this.length, this.prompt, this.seed, this.again, ...tools.querySelectorAll('button')]
    this.tools = tools
  }

  /**
   * @param stage as the document has it; `at` its number from 0, `of` how many there are.
   * @param status of it, as `statuses` says.
   * @param shown `{transition, seed, length, unit, addresses, isFixed}`: the rest that a card shows.
   */
  update(stage, at, of, status, shown) {
    this.index = at
    const number = at + 1
    say(this.number, String(number))
    name(this.root, t`stage ${number} of ${of}, ${status.text || t`status not known`}`)
    this.root.dataset.kind = status.kind
    this.root.setAttribute('aria-posinset', String(number))
    this.root.setAttribute('aria-setsize', String(of))
    this.pill.hidden = at === 0
    this.pill.dataset.transition = shown.transition
    say(this.pill, TRANSITIONS[shown.transition]?.() ?? shown.transition)
    this.pill.title = t`${WORDS[shown.transition]?.()}; click to change`
    name(this.pill, t`transition of stage ${number}: ${shown.transition}`)
    name(this.prompt, t`prompt of stage ${number}`)
    name(this.length, shown.unit === 'frames' ? t`length of stage ${number} in frames` : t`length of stage ${number} in seconds`)
    name(this.seed, t`seed of stage ${number}`)
    fill(this.prompt, stage.prompt ?? '')
    fill(this.length, String(shown.length ?? ''))
    this.length.placeholder = shown.planned
    say(this.unit, shown.unit === 'frames' ? t`fr` : t`s`)
    fill(this.seed, stage.seed ?? '')
    this.seed.placeholder = shown.seed
    say(this.loras, (stage.loras ?? []).map(called).join(', '))
    this.loras.title = this.loras.textContent && t`LoRAs: ${this.loras.textContent}`
    show(this.picture, shown.addresses.take)
    this.picture.dataset.kind = status.kind
    this.play.hidden = !shown.addresses.clip
    if (this.clip.dataset.take !== (status.take ?? '')) this.stop()
    this.clip.dataset.take = status.take ?? ''
    this.start.update(stage.start_image, shown.addresses.start)
    this.end.update(stage.end_image, shown.addresses.end)
    this.sign.className = `pi pi-${SIGNS[status.kind]}${status.kind === 'rendering' ? ' pi-spin' : ''}`
    say(this.status, status.text)
    this.status.title = status.text
    this.ask.hidden = status.kind !== 'waits'
    name(this.yes, t`yes to stage ${number}, go on`)
    name(this.other, t`another take of stage ${number}`)
    this.#locking(stage, status)
    this.takes.disabled = status.place === null
    for (const field of this.editable) field.disabled = shown.isFixed || ([this.lock, this.takes].includes(field) && field.disabled)
    this.tools.hidden = shown.isFixed
    for (const { root } of [this.start, this.end]) root.hidden = shown.isFixed && !root.classList.contains('lt-filled')
  }

  /** Play a clip in place of the picture. */
  run(address) {
    this.clip.hidden = false
    this.clip.src = address
    this.clip.play().catch(() => {}) // a page may play no sound before it was clicked; there are controls
  }

  stop() {
    if (this.clip.hidden) return
    this.clip.hidden = true
    this.clip.removeAttribute('src')
    this.clip.load()
  }

  #locking(stage, status) {
    const locked = 'take' in stage
    this.root.classList.toggle('lt-locked', locked)
    this.lock.firstChild.className = `pi pi-${locked ? 'lock' : 'lock-open'}`
    this.lock.disabled = !locked && status.number === null
    const words = locked ? t`unlock: it shows take ${stage.take} whatever its words` : t`lock: keep showing this take whatever its words`
    this.lock.title = this.lock.disabled ? t`lock: there is no stored take to keep` : words
    name(this.lock, locked ? t`unlock` : t`lock`)
    this.lock.setAttribute('aria-pressed', String(locked))
  }
}

const SLOTS = {
  start: () => ({ short: t`start`, long: t`start image`, clear: t`take the start image away` }),
  end: () => ({ short: t`end`, long: t`end image`, clear: t`take the end image away` })
}

// The place of a start or an end image: an image is dropped there, or chosen; the cross takes it away.
function slot(which, does) {
  const field = `${which}_image`
  const picture = element('img', { alt: '', loading: 'lazy', draggable: false, hidden: true })
  const words = SLOTS[which]()
  const files = element('input', { type: 'file', accept: 'image/*', hidden: true, onchange: () => does('image', field, files.files[0]) })
  const choose = element('button', { type: 'button', className: 'lt-choose', onclick: () => files.click() }, picture, element('span', {}, words.short))
  const clear = button(words.clear, 'times', () => does('image', field, undefined))
  const root = element('div', { className: `lt-slot lt-${which}` }, choose, clear, files)
  root.dataset.field = field
  return {
    root,
    update(image, address) {
      clear.hidden = image === undefined
      root.classList.toggle('lt-filled', image !== undefined)
      choose.title = image ? t`${words.long}: ${image}; drop or choose another` : t`${words.long}: drop one here, or click to choose`
      name(choose, choose.title)
      show(picture, address)
    }
  }
}

function show(picture, address) {
  const wanted = address ?? ''
  if (picture.dataset.address === wanted) return
  picture.dataset.address = wanted
  picture.hidden = !address
  if (address) picture.src = address
  else picture.removeAttribute('src')
}

function name(of, words) {
  if (of.getAttribute('aria-label') !== words) of.setAttribute('aria-label', words)
}

function called(lora) {
  const file = [lora?.high, lora?.low].find((of) => of && of !== 'none' && of !== 'auto') ?? ''
  return String(file).split(/[\\/]/).at(-1).replace(/\.safetensors$/, '')
}

const CARD_KEYS = { Delete: 'delete', Backspace: 'delete', Insert: 'insert' }

// On the card itself; inside a field keys are the field's, but for Escape, which leads back to the card.
function keys(event, card, does) {
  const inField = event.target !== card.root
  if (inField && event.key === 'Escape') return taken(event, () => card.root.focus())
  if (inField) return
  const arrow = { ArrowLeft: -1, ArrowRight: 1 }[event.key]
  if (arrow) return taken(event, () => does(event.altKey ? 'shift' : 'go', arrow))
  if (event.key === 'Enter' && !event.ctrlKey && !event.metaKey) return taken(event, () => (card.prompt.disabled ? does('open') : card.prompt.focus()))
  if (event.key.toLowerCase() === 'd' && (event.ctrlKey || event.metaKey)) return taken(event, () => does('duplicate'))
  if (CARD_KEYS[event.key]) return taken(event, () => does(CARD_KEYS[event.key]))
}

function taken(event, act) {
  event.preventDefault()
  event.stopPropagation()
  act()
}
