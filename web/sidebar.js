// A panel beside the canvas: the film of the graph as cards to look at, all films and takes that are stored, and the room
// they use.

import { app } from '../../scripts/app.js'
import { films, watchFilms } from './films.js'
import { nodeAt } from './graph.js'
import { address, confirm, notify, wanted, whenChanged, whenRunning, why } from './server.js'
import { button, element, say } from './storyboard/elements.js'
import { Lane } from './storyboard/lane.js'
import { cost, length, progress, room, shownOf, statuses } from './storyboard/status.js'
import { tile } from './storyboard/takes.js'
import { t } from './words.js'

const PAGE = 30 // takes that are listed at a time
const GIGABYTE = 1e9
const ALL = 2 ** 52 // bytes: more than any store holds

const text = (tag, className, words) => element(tag, { className }, words)
const list = (words) => element('div', { className: 'lt-tiles', role: 'list', 'aria-label': words })

/** The stages of one film of the graph, as cards that are only looked at. */
class Film {
  constructor() {
    this.head = text('div', 'lt-cost', '')
    this.length = text('div', 'lt-film', '')
    this.lane = new Lane((name, index, ...more) => this.#act(name, index, ...more))
    this.root = element('section', { className: 'lt-graph', 'aria-label': t`the film of this graph` }, this.head, this.length, this.lane.root)
  }

  update({ plan, problem, run }) {
    this.plan = plan
    say(this.head, progress(run, plan) || problem || cost(plan))
    say(this.length, length(plan))
    this.lane.root.hidden = !plan
    if (!plan) return
    const all = (this.statuses = statuses(plan.nodes.length, plan, run))
    const views = all.map((status) => {
      const { prompt, seed, transition } = status.stages[0]
      const shown = { transition, seed: String(seed), unit: 'seconds', length: Math.round(status.seconds * 100) / 100, planned: '' }
      const clip = shownOf(status)
      const addresses = { take: status.take && address('take', status.take), clip: clip && address('clip', clip) }
      return [{ prompt, seed: String(seed) }, status, { ...shown, fallback: status.seconds, addresses }]
    })
    this.lane.update(views, true)
  }

  async #act(name, index, by) {
    const card = this.lane.card(index)
    if (name === 'go') this.lane.go(index + by)
    if (name === 'play') card.run(address('clip', shownOf(this.statuses[index])))
    if (name === 'open') {
      const node = nodeAt(this.plan.nodes[index])
      if (node) app.canvas.centerOnNode(node)
    }
    if (name !== 'unplayable' || !card.clip.getAttribute('src')) return
    const asked = card.clip.getAttribute('src')
    card.stop()
    notify(t`stage ${index + 1} cannot be played: ${await why(asked)}`)
  }
}

class Sidebar {
  constructor() {
    this.drawn = new Map() // Film by node
    this.graph = element('div', {})
    this.none = text('p', 'lt-unit', t`This graph has no film of Chain Stages; a storyboard shows its cards on its node.`)
    this.films = list(t`films`)
    this.takes = list(t`takes`)
    this.more = element('button', { type: 'button', className: 'lt-turn', onclick: () => this.#takes(this.takes.childElementCount) }, t`more takes`)
    this.used = text('p', '', '')
    this.limit = element('input', { type: 'number', min: 0, step: 'any', className: 'lt-length', 'aria-label': t`gigabytes that the takes may use` })
    this.would = element('div', { role: 'status' })
    const verify = element('button', { type: 'button', className: 'lt-turn', onclick: () => this.#verify() }, t`verify`)
    const look = element('button', { type: 'button', className: 'lt-turn', onclick: () => this.#look() }, t`what would go`)
    this.root = element('div', { className: 'longtake-storyboard lt-sidebar' },
      text('h3', '', t`In this graph`), this.none, this.graph,
      text('h3', '', t`Films`), this.films,
      text('h3', '', t`Takes`), this.takes, this.more,
      text('h3', '', t`Disk`), this.used,
      element('div', { className: 'lt-row' }, element('label', { className: 'lt-label' }, t`prune to`, this.limit, 'GB'), look, verify), this.would)
    this.root.addEventListener('keydown', (event) => event.target.matches('input') && event.stopPropagation())
  }

  drawGraph() {
    for (const [node, film] of this.drawn) {
      if (films.has(node)) continue
      film.root.remove()
      this.drawn.delete(node)
    }
    for (const [node, shown] of films) {
      if (!this.drawn.has(node)) {
        this.drawn.set(node, new Film())
        this.graph.append(this.drawn.get(node).root)
      }
      this.drawn.get(node).update(shown)
    }
    this.none.hidden = films.size > 0
  }

  async read() {
    this.drawGraph()
    await Promise.all([this.#films(), this.#takes(), this.#disk()])
  }

  async #films() {
    const answer = await wanted('GET', '/longtake/chains')
    if (!answer) return
    const none = element('p', { className: 'lt-unit' }, t`There is none yet.`)
    this.films.replaceChildren(...(answer.chains.length ? answer.chains.map((chain) => this.#film(chain)) : [none]))
  }

  #film(chain) {
    const path = `/longtake/chains/${chain.id}`
    const act = async (method, body) => {
      await wanted(method, path, body)
      await this.#films()
    }
    const called = chain.name || chain.id
    const [numerator, denominator = 1] = chain.fps.split('/')
    const seconds = Math.round((chain.stages.at(-1).asked_end * denominator * 100) / numerator) / 100
    const pictures = chain.stages.slice(0, 6).map(({ take }) =>
      element('img', { src: address('take', take), alt: '', loading: 'lazy', onerror: ({ target }) => (target.hidden = true) }))
    const name = element('input', { type: 'text', value: chain.name, placeholder: t`name: its takes are never pruned then`, 'aria-label': t`name of ${called}`,
      onchange: () => act('POST', { name: name.value.trim() }) })
    const forget = async () => (await confirm(t`Forget the film ${called}? Its takes stay.`)) && act('DELETE')
    const count = chain.stages.length
    const facts = t`${count === 1 ? t`1 stage` : t`${count} stages`}, ${seconds} s, ${chain.width} x ${chain.height}, ${new Date(chain.created * 1000).toLocaleString()}`
    return element('div', { className: 'lt-tile lt-wide', role: 'listitem', 'aria-label': called },
      element('div', { className: 'lt-pictures' }, ...pictures), text('div', 'lt-unit', facts),
      element('div', { className: 'lt-row' }, name, button(t`forget ${called}`, 'trash', forget)))
  }

  async #takes(offset = 0) {
    const answer = await wanted('GET', `/longtake/takes?offset=${offset}&limit=${PAGE}`)
    if (!answer) return
    const tiles = answer.takes.map((take) => tile(take, () => this.read()))
    if (offset) this.takes.append(...tiles)
    else this.takes.replaceChildren(...tiles)
    this.more.hidden = this.takes.childElementCount >= answer.total
  }

  async #disk() {
    const answer = await wanted('POST', '/longtake/prune', { bytes: ALL, only_look: true })
    if (answer) say(this.used, t`Films and takes use ${room(answer.bytes)}.`)
    if (answer && !this.limit.value) this.limit.value = String(Math.round(answer.bytes / GIGABYTE * 100) / 100)
  }

  async #verify() {
    say(this.would, t`Every take is read ...`)
    const answer = await wanted('POST', '/longtake/verify')
    if (!answer) return say(this.would, '')
    const lines = answer.problems.map(({ take, chain, problem }) => text('li', '', `${take?.slice(0, 12) ?? chain}: ${problem}`))
    this.would.replaceChildren(lines.length ? element('ul', {}, ...lines) : t`Every take and film is whole.`)
  }

  // What pruning would remove is shown, and asked for, before anything goes.
  async #look() {
    const bytes = Math.round(Number(this.limit.value) * GIGABYTE)
    const answer = await wanted('POST', '/longtake/prune', { bytes, only_look: true })
    if (!answer) return
    const count = answer.removed.length
    if (!count) return say(this.would, t`No take would go.`)
    const pictures = answer.removed.slice(0, PAGE).map((key) => element('img', { src: address('take', key), alt: '', loading: 'lazy' }))
    const words = t`${count} takes would go, ${room(answer.freed)}; what is named, kept or in use stays.`
    const prune = async () => {
      if (!(await confirm(t`Delete ${count} takes, ${room(answer.freed)}? They cannot be brought back.`))) return
      await wanted('POST', '/longtake/prune', { bytes })
      this.would.replaceChildren()
      await this.read()
    }
    const go = element('button', { type: 'button', className: 'lt-turn', onclick: prune }, t`delete these ${count}`)
    this.would.replaceChildren(text('p', '', words), element('div', { className: 'lt-pictures' }, ...pictures), go)
  }
}

app.registerExtension({
  name: 'longtake.sidebar',

  setup() {
    let shown = null
    watchFilms(() => shown?.drawGraph())
    whenChanged(() => shown?.drawGraph())
    whenRunning((kind) => kind === 'ended' && shown?.read())
    app.extensionManager.registerSidebarTab({
      id: 'longtake',
      icon: 'pi pi-video',
      title: 'Longtake',
      tooltip: t`Longtake: films and takes`,
      type: 'custom',
      render(place) {
        shown = new Sidebar()
        place.append(shown.root)
        shown.read()
      },
      destroy() {
        shown = null
      }
    })
  }
})
