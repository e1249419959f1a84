// The desk as a person and an integrator's server have it: cards on the emulated encoder, and a webhook endpoint.

import assert from 'node:assert/strict'
import http from 'node:http'
import net from 'node:net'

/** Waits until `condition` gives something, and returns that. */
export const waitFor = async (what, condition, milliseconds = 15_000) => {
  const end = Date.now() + milliseconds
  while (Date.now() < end) {
    const value = await condition()
    if (value) return value
    await pause(20)
  }
  throw new Error(`waited ${milliseconds} ms for ${what}`)
}

export const pause = async (milliseconds) =>
  await new Promise((resolve) => setTimeout(resolve, milliseconds))

/** Sends one command to the emulated encoder. */
export const tell = async (control, command) =>
  await new Promise((resolve, reject) => {
    const line = net.connect(control)
    let answer = ''
    line.on('data', (bytes) => {
      answer += bytes
      if (!answer.includes('\n')) return
      line.destroy()
      const said = answer.trim()
      if (said === 'ok' || said.startsWith('ok ')) resolve(said.slice(3))
      else reject(new Error(`${command}: ${said}`))
    })
    line.on('error', reject)
    line.write(`${command}\n`)
  })

/** Takes whatever card lies there away and puts another one down, as slowly as a person at most does. */
export const freshCard = async (control, uid, kind = 'classic-1k') => {
  await removeCard(control)
  await tell(control, `place ${kind} uid ${uid}`)
}

export const removeCard = async (control) => {
  await tell(control, 'remove')
  // Two polls at least 200 ms apart must find the field empty (a person takes longer).
  await pause(600)
}

/** An integrator's webhook endpoint: keeps what arrives as it arrived. */
export class Receiver {
  deliveries = []

  async listen() {
    const server = http.createServer((request, response) => {
      let body = ''
      request.setEncoding('utf8')
      request.on('data', (text) => (body += text))
      request.on('end', () => {
        this.deliveries.push({ headers: request.headers, body })
        response.writeHead(204).end()
      })
    })
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
    server.unref()
    this.url = `http://127.0.0.1:${server.address().port}/seam-webhook`
  }

  /** The first event that the verifier accepts and that is the one meant. */
  async event(verifier, isMeant) {
    return await waitFor('the event at the webhook', () =>
      this.deliveries
        .map(({ headers, body }) => verifier.verify(body, headers))
        .find(isMeant),
    )
  }
}

/** Fails unless the call is refused with this kind of error; returns the error. */
export const refused = async (kind, call) => {
  try {
    await call()
  } catch (error) {
    assert.ok(error instanceof kind, `expected ${kind.name}, got ${error.stack}`)
    return error
  }
  throw new Error(`expected ${kind.name}, but it succeeded`)
}
