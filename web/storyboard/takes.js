// Takes: one as a tile, and those of one stage side by side: looked at, compared, named, kept, chosen, deleted.

import { address, confirm, notify, wanted, why } from '../server.js'
import { t } from '../words.js'
import { button, element, say } from './elements.js'

/**
 * A take as a tile, to be named, kept and deleted.
 *
 * @param changed called once something of it is another.
 * @param more elements before its buttons.
 */
export function tile(take, changed, ...more) {
  const number = t`take ${take.take}`
  const path = `/longtake/takes/${take.key}`
  const act = async (method, body) => {
    await wanted(method, path, body)
    changed()
  }
  const remove = async () => (await confirm(t`Delete take ${take.take} of stage ${take.stage}? It cannot be brought back.`)) && act('DELETE')
  const picture = element('img', { className: 'lt-picture', alt: '', loading: 'lazy', draggable: false, src: address('take', take.key) })
  const name = element('input', { type: 'text', value: take.name, placeholder: t`name`, 'aria-label': t`name of ${number}`,
    onchange: () => act('POST', { name: name.value.trim() }) })
  const keep = button(take.keep ? t`do not keep it any more` : t`keep: it is never pruned`, take.keep ? 'star-fill' : 'star', () => act('POST', { keep: !take.keep }))
  keep.setAttribute('aria-pressed', String(Boolean(take.keep)))
  const row = element('div', { className: 'lt-row' }, ...more, element('span', { className: 'lt-space' }), keep, button(t`delete ${number}`, 'trash', remove))
  return element('div', { className: 'lt-tile', role: 'listitem', 'aria-label': number },
    element('div', { className: 'lt-view' }, picture), element('div', { className: 'lt-row' }, element('b', {}, number), name),
    element('div', { className: 'lt-words', title: take.prompt }, take.prompt ?? ''), element('div', { className: 'lt-unit' }, t`seed ${take.seed}`), row)
}

export class Takes {
  /**
   * @param ways `{choose(index, number), closed(index), changed()}`: stages are counted from 0; a number of undefined is
   *   the take that the words ask for.
   */
  constructor(ways) {
    this.ways = ways
    this.stage = null
    this.title = element('span', { className: 'lt-title' })
    this.byWords = element('button', { type: 'button', className: 'lt-turn', onclick: () => this.#choose(undefined) }, t`go by the words`)
    this.list = element('div', { className: 'lt-tiles', role: 'list', 'aria-label': t`takes` })
    this.compared = element('div', { className: 'lt-compared', hidden: true })
    const top = element('div', { className: 'lt-top' }, this.title, element('span', { className: 'lt-space' }), this.byWords,
      button(t`close`, 'times', () => this.close()))
    this.root = element('div', { className: 'lt-takes', role: 'dialog', hidden: true, tabIndex: -1,
      onkeydown: (event) => event.key === 'Escape' && (event.stopPropagation(), this.close()) }, top, this.compared, this.list)
  }

  /**
   * Show the takes of a stage.
   *
   * @param stage `{index, place, number, first, stop}`: `number` of the take that the document chooses, if it does;
   *   `first` and `stop` the frames of it that the film shows.
   */
  async open(stage) {
    this.stage = stage
    this.pair = []
    this.compared.hidden = true
    say(this.title, t`Takes of stage ${stage.index + 1}`)
    this.root.setAttribute('aria-label', this.title.textContent)
    this.byWords.hidden = stage.number === undefined
    this.root.hidden = false
    this.root.focus()
    await this.#list()
  }

  close() {
    this.root.hidden = true
    this.compared.replaceChildren()
    this.ways.closed(this.stage.index)
  }

  async #list() {
    const answer = await wanted('GET', `/longtake/takes?place=${this.stage.place}&limit=100`)
    if (!answer) return
    const tiles = answer.takes.map((take) => this.#tile(take))
    this.list.replaceChildren(...(tiles.length ? tiles : [element('p', {}, t`There is none yet. Every Run with other words or another seed adds one.`)]))
  }

  #tile(take) {
    const isChosen = take.take === this.stage.number
    const pick = element('button', { type: 'button', className: 'lt-turn', disabled: isChosen, onclick: () => this.#choose(take.take) }, isChosen ? t`chosen` : t`choose`)
    const compare = element('label', { className: 'lt-label' }, element('input', { type: 'checkbox', onchange: (event) => this.#pair(take, event.target) }), t`compare`)
    const changed = () => this.#list().then(this.ways.changed)
    const made = tile({ ...take, stage: this.stage.index + 1 }, changed, pick, compare)
    made.dataset.kind = isChosen ? 'stored' : ''
    return made
  }

  #choose(number) {
    this.ways.choose(this.stage.index, number)
    this.close()
  }

  // The two that were marked last, over one playhead.
  #pair(take, box) {
    this.pair = this.pair.filter(([other]) => other !== take)
    if (box.checked) this.pair.push([take, box])
    if (this.pair.length > 2) this.pair.shift()[1].checked = false
    this.compared.hidden = this.pair.length < 2
    this.compared.replaceChildren()
    if (this.pair.length === 2) this.compared.append(...this.#sideBySide())
  }

  #sideBySide() {
    const { first, stop } = this.stage
    const clips = this.pair.map(([take]) => {
      const src = address('clip', { take: take.key, first, stop })
      const refused = async () => notify(t`take ${take.take} cannot be played: ${await why(src)}`)
      return element('video', { className: 'lt-side', src, muted: true, playsInline: true, preload: 'auto', title: t`take ${take.take}`, onerror: refused })
    })
    const head = element('input', { type: 'range', min: 0, max: 1, step: 'any', value: 0, 'aria-label': t`playhead of both takes`, className: 'lt-playhead' })
    const [one, other] = clips
    head.addEventListener('input', () => clips.forEach((clip) => {
      clip.pause()
      clip.currentTime = Number(head.value) * (clip.duration || 0)
    }))
    one.addEventListener('timeupdate', () => {
      if (!one.paused) head.value = String(one.currentTime / (one.duration || 1))
      if (Math.abs(other.currentTime - one.currentTime) > 0.1) other.currentTime = one.currentTime
    })
    const play = button(t`play both`, 'play', () => {
      const starts = one.paused
      clips.forEach((clip) => (starts ? clip.play().catch(() => {}) : clip.pause()))
    })
    return [element('div', { className: 'lt-sides' }, ...clips), element('div', { className: 'lt-row' }, play, head)]
  }
}
