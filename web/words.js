// What the page says, in the language that ComfyUI is set to: `locales/<language>/main.json` has it by its English words.

let words = {}

export function speak(dictionary) {
  words = dictionary ?? {}
}

/** t`step ${done} of ${all}` in that language: its words are kept as "step {0} of {1}". */
export function t(parts, ...values) {
  const said = parts.reduce((text, part, index) => `${text}{${index - 1}}${part}`)
  return (words[said] ?? said).replace(/\{(\d)\}/g, (_, number) => values[number])
}
