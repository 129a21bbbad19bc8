// The cards of a storyboard beside one another, as wide as their stages are long, and what is done with a mouse over
// several of them: moving a stage, dropping an image on one.

import { Card } from './card.js'
import { button, element } from './elements.js'

const EDGE = 60 // pixels from either end of the lane where it moves along under what is dragged

export class Lane {
  /**
   * @param act as of Card; also `add` for a stage at the end.
   */
  constructor(act) {
    this.act = act
    this.cards = []
    this.isFixed = false
    this.mark = element('div', { className: 'lt-mark', hidden: true, 'aria-hidden': 'true' })
    this.add = button('add a stage at the end', 'plus', () => act('add', this.cards.length))
    this.add.classList.add('lt-add')
    this.root = element('div', { className: 'lt-lane', role: 'list', 'aria-label': 'stages' }, this.add, this.mark)
    this.root.dataset.captureWheel = 'true'
    this.root.addEventListener('pointerdown', (event) => this.#grab(event))
    this.root.addEventListener('dragover', (event) => this.#over(event))
    this.root.addEventListener('dragleave', () => this.#target(null))
    this.root.addEventListener('drop', (event) => this.#drop(event))
  }

  /**
   * @param views for each stage what `Card.update` takes behind its number and their count: `[stage, status, shown]`.
   */
  update(views, isFixed) {
    this.isFixed = isFixed
    while (this.cards.length > views.length) this.cards.pop().root.remove()
    while (this.cards.length < views.length) {
      const card = new Card(this.act)
      this.cards.push(card)
      this.root.insertBefore(card.root, this.add)
    }
    views.forEach(([stage, status, shown], index) => {
      this.cards[index].update(stage, index, views.length, status, { ...shown, isFixed })
    })
    this.add.hidden = isFixed
  }

  /** Show a card and give it the keyboard. */
  go(index, inPrompt = false) {
    const card = this.cards[Math.max(0, Math.min(index, this.cards.length - 1))]
    if (!card) return
    ;(inPrompt ? card.prompt : card.root).focus({ preventScroll: true })
    if (inPrompt) card.prompt.select()
    card.root.scrollIntoView({ block: 'nearest', inline: 'nearest' })
  }

  #cardOf(target) {
    return this.cards.find((card) => card.root.contains(target))
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
    const at = this.cards.findIndex((card) => {
      const { left, width } = card.root.getBoundingClientRect()
      return x < left + width / 2
    })
    return at < 0 ? this.cards.length : at
  }

  #scroll(x) {
    const { left, right } = this.root.getBoundingClientRect()
    if (x < left + EDGE) this.root.scrollLeft -= EDGE / 4
    if (x > right - EDGE) this.root.scrollLeft += EDGE / 4
  }

  #showMark(to, from) {
    this.mark.hidden = to === from || to === from + 1
    const before = this.cards[to]?.root
    const last = this.cards.at(-1).root
    this.mark.style.left = `${before ? before.offsetLeft - 5 : last.offsetLeft + last.offsetWidth + 3}px`
  }

  #over(event) {
    if (this.isFixed || !event.dataTransfer?.types.includes('Files')) return
    event.preventDefault()
    event.stopPropagation()
    event.dataTransfer.dropEffect = 'copy'
    this.#target(this.#cardOf(event.target), event.target.closest?.('.lt-slot')?.dataset.field ?? 'start_image')
  }

  #target(card, field) {
    for (const other of this.cards) {
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
