// What the page asks of the server, and what of the graph it asks about.

import { api } from '../../scripts/api.js'
import { app } from '../../scripts/app.js'
import { nodeAt } from './graph.js'
import { t } from './words.js'

const PAUSE = 450 // milliseconds between the last change and a question about it

/** `{ok, answer}` of a route. */
export async function ask(method, path, body) {
  const sent = method === 'POST' ? { headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body ?? {}) } : {}
  const response = await api.fetchApi(path, { method, ...sent })
  return { ok: response.ok, answer: await response.json() }
}

/** Where a picture or a clip is: `kind` is take, clip (`name` says of what), or input. */
export function address(kind, name) {
  if (kind === 'take') return api.apiURL(`/longtake/takes/${name}/thumbnail`)
  if (kind === 'clip') return api.apiURL(`/longtake/takes/${name.take}/clip?first=${name.first}&stop=${name.stop}`)
  const parts = name.replaceAll('\\', '/').split('/')
  const asked = new URLSearchParams({ filename: parts.pop(), subfolder: parts.join('/'), type: 'input' })
  return api.apiURL(`/view?${asked}`)
}

/** What the server answers; where it refuses, its sentence is shown, and null is returned. */
export async function wanted(method, path, body) {
  const { ok, answer } = await ask(method, path, body)
  if (ok) return answer
  notify(answer.error)
  return null
}

/** The sentence in which the server refuses an address. */
export async function why(address) {
  const response = await fetch(address)
  return response.ok ? t`the browser does not play it` : (await response.json()).error
}

/** The name in ComfyUI's input folder of a file that is put there. */
export async function upload(file) {
  const form = new FormData()
  form.append('image', file)
  const response = await api.fetchApi('/upload/image', { method: 'POST', body: form })
  if (!response.ok) throw new Error(await response.text())
  const { name, subfolder } = await response.json()
  return subfolder ? `${subfolder}/${name}` : name
}

/** Let ComfyUI's own history note what has been done, so that its undo takes it back. */
export function settle() {
  const tracker = app.extensionManager?.workflow?.activeWorkflow?.changeTracker
  ;(tracker?.captureCanvasState ?? tracker?.checkState)?.call(tracker)
}

/** Press Run. */
export function queue() {
  app.extensionManager.command.execute('Comfy.QueuePrompt')
}

/** Say something that is no part of a node. */
export function notify(detail) {
  app.extensionManager?.toast?.add({ severity: 'warn', summary: 'Longtake', detail, life: 8000 })
}

export function confirm(message) {
  return app.extensionManager.dialog.confirm({ title: 'Longtake', message, type: 'delete' })
}

/** A node and all it is made from, of the prompt that Run would queue; null where it would not run. */
export function upstream(output, node) {
  const id = Object.keys(output).find((id) => nodeAt(id) === node)
  if (!id) return null
  const prompt = {}
  const waiting = [id]
  while (waiting.length) {
    const next = waiting.pop()
    if (next in prompt || !(next in output)) continue
    prompt[next] = output[next]
    for (const value of Object.values(output[next].inputs)) if (Array.isArray(value)) waiting.push(String(value[0]))
  }
  return { prompt, node: id }
}

/** What is asked once changes have come to rest, one question at a time. */
export class Question {
  constructor(put) {
    this.put = put
    this.asking = this.again = false
  }

  ask(pause = PAUSE) {
    clearTimeout(this.timer)
    this.timer = setTimeout(() => this.#ask(), pause)
  }

  drop() {
    clearTimeout(this.timer)
  }

  async #ask() {
    if (this.asking) return (this.again = true)
    this.asking = true
    try {
      await this.put()
    } catch (error) {
      // The server is away, or starts again: what is shown is what was known last.
      console.debug('Longtake: no answer', error)
    } finally {
      this.asking = false
      if (this.again) {
        this.again = false
        this.ask()
      }
    }
  }
}

/** Call `put` whenever the graph or what is stored may be another. */
export function whenChanged(put) {
  for (const event of ['graphChanged', 'reconnected']) api.addEventListener(event, put)
  window.addEventListener('focus', put)
}

const EVENTS = { stage_started: 'started', step: 'step', stage_done: 'done', stored_hit: 'done' }

/** Call `put(kind, data, node)` with all that is told of a run, as `after` of status.js takes it. */
export function whenRunning(put) {
  for (const [event, kind] of Object.entries(EVENTS)) {
    api.addEventListener(`longtake.${event}`, ({ detail }) => put(kind, detail, nodeAt(detail.node)))
  }
  api.addEventListener('execution_start', () => put('begun'))
  api.addEventListener('execution_error', ({ detail }) => {
    put('failed', { message: String(detail.exception_message ?? '') }, nodeAt(detail.node_id))
    put('ended')
  })
  for (const end of ['execution_success', 'execution_interrupted']) api.addEventListener(end, () => put('ended'))
}
