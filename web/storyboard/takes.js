// The takes of one stage side by side: looked at, compared, named, kept, chosen, deleted.

import { button, element, say } from './elements.js'

export class Takes {
  /**
   * @param ways as of Panel.
   * @param choose called with the number of the stage, counted from 0, and that of a take, or undefined for the one that
   *   the words ask for.
   */
  constructor(ways, choose) {
    this.ways = ways
    this.choose = choose
    this.stage = null
    this.title = element('span', { className: 'lt-title' })
    this.byWords = element('button', { type: 'button', className: 'lt-turn', onclick: () => this.#choose(undefined) }, 'go by the words')
    this.list = element('div', { className: 'lt-tiles', role: 'list', 'aria-label': 'takes' })
    this.compared = element('div', { className: 'lt-compared', hidden: true })
    const top = element('div', { className: 'lt-top' }, this.title, element('span', { className: 'lt-space' }), this.byWords,
      button('close', 'times', () => this.close()))
    this.root = element('div', { className: 'lt-takes', role: 'dialog', 'aria-label': 'takes of a stage', hidden: true, tabIndex: -1,
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
    say(this.title, `Takes of stage ${stage.index + 1}`)
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
    const { ok, answer } = await this.ways.ask('GET', `/longtake/takes?place=${this.stage.place}&limit=100`)
    if (!ok) return this.ways.notify(answer.error)
    const tiles = answer.takes.map((take) => this.#tile(take))
    this.list.replaceChildren(...(tiles.length ? tiles : [element('p', {}, 'There is none yet. Every Run with other words or another seed adds one.')]))
  }

  #tile(take) {
    const number = `take ${take.take}`
    const isChosen = take.take === this.stage.number
    const picture = element('img', { className: 'lt-picture', alt: '', loading: 'lazy', draggable: false, src: this.ways.address('take', take.key) })
    const name = element('input', { type: 'text', value: take.name, placeholder: 'name', 'aria-label': `name of ${number}`,
      onchange: () => this.#note(take, { name: name.value.trim() }) })
    const keep = button(take.keep ? 'do not keep it any more' : 'keep: it is never pruned', take.keep ? 'star-fill' : 'star', () => this.#note(take, { keep: !take.keep }))
    keep.setAttribute('aria-pressed', String(Boolean(take.keep)))
    const pick = element('button', { type: 'button', className: 'lt-turn', disabled: isChosen, onclick: () => this.#choose(take.take) }, isChosen ? 'chosen' : 'choose')
    const compare = element('label', { className: 'lt-label' }, element('input', { type: 'checkbox', onchange: (event) => this.#pair(take, event.target) }), 'compare')
    const row = element('div', { className: 'lt-row' }, pick, compare, element('span', { className: 'lt-space' }), keep,
      button(`delete ${number}`, 'trash', () => this.#delete(take)))
    const tile = element('div', { className: 'lt-tile', role: 'listitem', 'aria-label': number },
      element('div', { className: 'lt-view' }, picture), element('div', { className: 'lt-row' }, element('b', {}, number), name),
      element('div', { className: 'lt-words', title: take.prompt }, take.prompt ?? ''), element('div', { className: 'lt-unit' }, `seed ${take.seed}`), row)
    tile.dataset.kind = isChosen ? 'stored' : ''
    return tile
  }

  #choose(number) {
    this.choose(this.stage.index, number)
    this.close()
  }

  async #note(take, notes) {
    await this.#do('POST', `/longtake/takes/${take.key}`, notes)
  }

  async #delete(take) {
    const asked = `Delete take ${take.take} of stage ${this.stage.index + 1}? It cannot be brought back.`
    if (await this.ways.confirm(asked)) await this.#do('DELETE', `/longtake/takes/${take.key}`)
  }

  async #do(method, path, body) {
    const { ok, answer } = await this.ways.ask(method, path, body)
    if (!ok) this.ways.notify(answer.error)
    await this.#list()
    this.ways.changed()
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
      const address = this.ways.address('clip', { take: take.key, first, stop })
      const refused = async () => this.ways.notify(`take ${take.take} cannot be played: ${await this.ways.why(address)}`)
      return element('video', { className: 'lt-side', src: address, muted: true, playsInline: true, preload: 'auto', title: `take ${take.take}`, onerror: refused })
    })
    const head = element('input', { type: 'range', min: 0, max: 1, step: 'any', value: 0, 'aria-label': 'playhead of both takes', className: 'lt-playhead' })
    const [one, other] = clips
    head.addEventListener('input', () => clips.forEach((clip) => {
      clip.pause()
      clip.currentTime = Number(head.value) * (clip.duration || 0)
    }))
    one.addEventListener('timeupdate', () => {
      if (!one.paused) head.value = String(one.currentTime / (one.duration || 1))
      if (Math.abs(other.currentTime - one.currentTime) > 0.1) other.currentTime = one.currentTime
    })
    const play = button('play both', 'play', () => {
      const starts = one.paused
      clips.forEach((clip) => (starts ? clip.play().catch(() => {}) : clip.pause()))
    })
    return [element('div', { className: 'lt-sides' }, ...clips), element('div', { className: 'lt-row' }, play, head)]
  }
}
