/** Texts of examples, which stand in somebody's documentation and so in everybody's guesses. */
const examples = /change.?me|your.?(?:256|secret|jwt|key)|example|placeholder|insert.?here|replace.?(?:me|this)/i

/** The shortest part that the text is made of by repeating it; the whole text when there is none. */
const periodOf = (text: string): number => {
  for (let length = 1; length <= text.length / 2; length += 1)
    if (text.slice(length) === text.slice(0, -length)) return length
  return text.length
}

/** Why a secret that machines use can be guessed; undefined when nothing speaks against it. */
export const weaknessOf = (secret: string): string | undefined => {
  if (examples.test(secret)) return 'is an example out of some documentation'
  if (new Set(secret).size < 8) return 'has fewer than 8 different characters'
  if (periodOf(secret) <= 12) return 'repeats a few characters'
  return undefined
}
