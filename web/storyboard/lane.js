// The cards of a storyboard beside one another, as wide as their stages are long, those in sight drawn; and what is done
// with a mouse over several of them: moving a stage, dropping an image on one.

import { t } from '../words.js'
import { Card } from './card.js'
import { button, element } from './elements.js'

// Pixels.
const EDGE = 60 // from either end of the lane where it moves along under what is dragged
const GAP = 8
const BEYOND = 500 // on either side of what is seen, that is drawn too
const UNSEEN = 1600 // that are drawn before the page has laid the lane out
const SECOND = 44
const NARROWEST = 214
const WIDEST = 560

const width = (seconds) => Math.round(Math.max(NARROWEST, Math.min(seconds * SECOND, WIDEST)))

export class Lane {
  /**
   * @param act as of Card; also `add` for a stage at the end.
   */
  constructor(act) {
    this.act = act
    this.views = []
    this.lefts = [] // where each card begins, and behind them where the last one ends
    this.shown = new Map() // cards by number of their stage: those in sight
    this.spare = []
    this.isFixed = false
    this.mark = element('div', { className: 'lt-mark', hidden: true, 'aria-hidden': 'true' })
    this.add = button(t`add a stage at the end`, 'plus', () => act('add', this.views.length))
    this.add.classList.add('lt-add')
    this.track = element('div', { className: 'lt-track', role: 'list', 'aria-label': t`stages` })
    this.root = element('div', { className: 'lt-lane' }, this.track, this.add, this.mark)
    this.root.dataset.captureWheel = 'true'
    this.root.addEventListener('scroll', () => this.#draw(), { passive: true })
    this.root.addEventListener('pointerdown', (event) => this.#grab(event))
    this.root.addEventListener('dragover', (event) => this.#over(event))
    this.root.addEventListener('dragleave', () => this.#target(null))
    this.root.addEventListener('drop', (event) => this.#drop(event))
    new ResizeObserver(() => this.#draw()).observe(this.root)
  }

  /**
   * @param views for each stage what `Card.update` takes behind its number and their count: `[stage, status, shown]`.
   */
  update(views, isFixed) {
    this.views = views
    this.isFixed = isFixed
    this.lefts = [0]
    for (const [, status, { fallback }] of views) this.lefts.push(this.lefts.at(-1) + width(status.seconds ?? fallback) + GAP)
    const end = this.lefts.at(-1)
    this.track.style.width = `${end}px`
    this.add.style.left = `${end}px`
    this.add.hidden = isFixed
    for (const [index, card] of this.shown) if (index >= views.length) this.#put(index, card)
    for (const [index, card] of this.shown) this.#update(index, card)
    this.#draw()
  }

  card(index) {
    return this.shown.get(index)
  }

  each(act) {
    this.shown.forEach(act)
  }

  /** Bring a card into sight. */
  show(index) {
    const [left, right] = [this.lefts[index], this.lefts[index + 1]]
    const { scrollLeft, clientWidth } = this.root
    if (left < scrollLeft) this.root.scrollLeft = left
    else if (right > scrollLeft + clientWidth) this.root.scrollLeft = Math.min(left, right - clientWidth)
    this.#draw()
  }

  /** Show a card and give it the keyboard. */
  go(index, inPrompt = false) {
    const at = Math.max(0, Math.min(index, this.views.length - 1))
    this.show(at)
    const card = this.card(at)
    if (!card) return
    ;(inPrompt ? card.prompt : card.root).focus({ preventScroll: true })
    if (inPrompt) card.prompt.select()
  }

  // Two hundred cards are never in sight together, and those that are not cost time with every key.
  #draw() {
    const from = this.root.scrollLeft - BEYOND
    const to = this.root.scrollLeft + (this.root.clientWidth || UNSEEN) + BEYOND
    const inSight = (index) => this.lefts[index + 1] > from && this.lefts[index] < to
    for (const [index, card] of this.shown) {
      if (!inSight(index) && !card.root.contains(document.activeElement)) this.#put(index, card)
    }
    for (let index = 0; index < this.views.length; index++) {
      if (inSight(index) && !this.shown.has(index)) this.#take(index)
    }
  }

  #take(index) {
    const card = this.spare.pop() ?? new Card(this.act)
    const after = Math.min(...[...this.shown.keys()].filter((other) => other > index))
    this.shown.set(index, card)
    this.#update(index, card)
    this.track.insertBefore(card.root, this.shown.get(after)?.root ?? null)
  }

  #put(index, card) {
    card.stop()
    card.root.remove()
    this.shown.delete(index)
    this.spare.push(card)
  }

  #update(index, card) {
    const [stage, status, shown] = this.views[index]
    card.update(stage, index, this.views.length, status, { ...shown, isFixed: this.isFixed })
    card.root.style.left = `${this.lefts[index]}px`
    card.root.style.width = `${this.lefts[index + 1] - this.lefts[index] - GAP}px`
  }

  #cardOf(target) {
    return [...this.shown.values()].find((card) => card.root.contains(target))
  }

  #grab(event) {
    const grip = event.target.closest?.('.lt-grip')
    const card = grip && this.#cardOf(grip)
    if (!card || this.isFixed || event.button !== 0) return
    event.preventDefault()
    event.stopPropagation()
    card.root.focus({ preventScroll: true })
    card.root.classList.add('lt-dragged')
    let to = card.index
    const move = (moved) => {
      to = this.#placeAt(moved.clientX)
      this.#scroll(moved.clientX)
      this.#showMark(to, card.index)
    }
    const end = (ended) => {
      for (const [name, listener] of listeners) window.removeEventListener(name, listener, true)
      card.root.classList.remove('lt-dragged')
      this.mark.hidden = true
      const target = to > card.index ? to - 1 : to
      if (ended.type === 'pointerup' && target !== card.index) this.act('move', card.index, target)
    }
    const cancel = (pressed) => {
      if (pressed.key !== 'Escape') return
      pressed.stopPropagation()
      end(pressed)
    }
    // On the window: the canvas below listens there too, and is not to take a drag over it for its own.
    const listeners = [['pointermove', move], ['pointerup', end], ['pointercancel', end], ['keydown', cancel]]
    for (const [name, listener] of listeners) window.addEventListener(name, listener, true)
  }

  /** Before which stage something at a place of the screen would be put. */
  #placeAt(x) {
    const { left, width: seen } = this.root.getBoundingClientRect()
    const at = ((x - left) / seen) * this.root.offsetWidth + this.root.scrollLeft
    const place = this.views.findIndex((_, index) => at < (this.lefts[index] + this.lefts[index + 1]) / 2)
    return place < 0 ? this.views.length : place
  }

  #scroll(x) {
    const { left, right } = this.root.getBoundingClientRect()
    if (x < left + EDGE) this.root.scrollLeft -= EDGE / 4
    if (x > right - EDGE) this.root.scrollLeft += EDGE / 4
  }

  #showMark(to, from) {
    this.mark.hidden = to === from || to === from + 1
    this.mark.style.left = `${this.lefts[to] - GAP / 2}px`
  }

  #over(event) {
    if (this.isFixed || !event.dataTransfer?.types.includes('Files')) return
    event.preventDefault()
    event.stopPropagation()
    event.dataTransfer.dropEffect = 'copy'
    this.#target(this.#cardOf(event.target), event.target.closest?.('.lt-slot')?.dataset.field ?? 'start_image')
  }

  #target(card, field) {
    for (const other of this.shown.values()) {
      if (other === card) other.root.dataset.drop = field
      else delete other.root.dataset.drop
    }
  }

  #drop(event) {
    const card = this.#cardOf(event.target)
    const image = [...(event.dataTransfer?.files ?? [])].find((file) => file.type.startsWith('image/'))
    const field = event.target.closest?.('.lt-slot')?.dataset.field ?? 'start_image'
    this.#target(null)
    if (this.isFixed || !card || !image) return
    event.preventDefault()
    event.stopPropagation()
    this.act('image', card.index, field, image)
  }
}
