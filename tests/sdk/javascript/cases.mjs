// What an integrator does with the unmodified npm `seam`, case by case, in this order. The first cases are the code
// blocks of the guides, with ids and later dates in place of their examples.
//
// Arguments: the SDK's entry file, and the desk as JSON (see run.py). Prints `ok NAME SECONDS` or `FAIL NAME REASON` a
// case.

import assert from 'node:assert/strict'
import { pathToFileURL } from 'node:url'

import {
  Receiver,
  freshCard,
  refused,
  removeCard,
  tell,
  waitFor,
} from './desk.mjs'

const {
  Seam,
  SeamActionAttemptFailedError,
  SeamActionAttemptTimeoutError,
  SeamHttpApiError,
  SeamHttpInvalidInputError,
  SeamHttpUnauthorizedError,
  SeamWebhook,
} = await import(pathToFileURL(process.argv[2]))
const desk = JSON.parse(process.argv[3])
const { control, endpoint } = desk
const seam = new Seam({ apiKey: desk.api_key, endpoint })

const WAIT = { waitForActionAttempt: { timeout: 60_000, pollingInterval: 50 } }
const NO_WAIT = { waitForActionAttempt: false }
const EVER = '2020-01-01T00:00:00.000Z'

const receiver = new Receiver()
let verifier, encoder, grant, accessMethodId, attempt, card, credential

const finished = async ({ action_attempt_id }) =>
  await waitFor('the attempt to end', async () => {
    const now = await seam.actionAttempts.get({ action_attempt_id }, NO_WAIT)
    return now.status === 'pending' ? null : now
  })

const newGrant = async () =>
  await seam.accessGrants.create({
    user_identity: { full_name: 'John Doe' },
    acs_entrance_ids: [desk.acs_entrance_ids[0]],
    requested_access_methods: [{ mode: 'card' }],
  })

const encodeMethod = async (access_method_id, options) =>
  await seam.accessMethods.encode(
    { access_method_id, acs_encoder_id: encoder.acs_encoder_id },
    options,
  )

const cases = {
  async makes_a_webhook() {
    await receiver.listen()
    const webhook = await seam.webhooks.create({
      url: receiver.url,
      event_types: ['access_method.issued', 'access_method.reissued'],
    })
    verifier = new SeamWebhook(webhook.secret)
  },

  // Creating and Encoding Card Access Methods

  async creates_an_access_grant_for_a_new_person() {
    const entrances = await seam.acs.entrances.list({
      acs_system_id: desk.acs_system_id,
    })
    const accessGrant = await seam.accessGrants.create({
      user_identity: {
        full_name: 'Jane Doe',
        email_address: 'jane.doe@example.com',
        phone_number: '+15555551000',
      },
      acs_entrance_ids: [
        entrances[0].acs_entrance_id,
        entrances[1].acs_entrance_id,
      ],
      requested_access_methods: [{ mode: 'card' }],
      starts_at: '2027-08-01T15:00:00.000Z',
      ends_at: '2027-08-04T11:00:00.000Z',
    })
    assert.equal(accessGrant.starts_at, '2027-08-01T15:00:00.000Z')
    assert.equal(accessGrant.ends_at, '2027-08-04T11:00:00.000Z')
    assert.ok(accessGrant.user_identity_id)
    const [requested] = accessGrant.requested_access_methods
    assert.equal(requested.mode, 'card')
    assert.ok(requested.display_name && requested.created_at)
    assert.equal(requested.created_access_method_ids.length, 1)
    grant = accessGrant
    accessMethodId = requested.created_access_method_ids[0]
  },

  async retrieves_encoders() {
    const encoders = await waitFor('the encoder', async () => {
      const listed = await seam.acs.encoders.list({
        acs_system_ids: [desk.acs_system_id],
      })
      return listed.length === 1 ? listed : null
    })
    encoder = encoders[0]
    assert.equal(encoder.display_name, 'Front Desk')
  },

  async encodes_the_access_method() {
    await freshCard(control, '1a000001')
    const encodingActionAttempt = await seam.accessMethods.encode(
      {
        access_method_id: accessMethodId,
        acs_encoder_id: encoder.acs_encoder_id,
      },
      NO_WAIT,
    )
    assert.equal(encodingActionAttempt.status, 'pending')
    assert.equal(encodingActionAttempt.action_type, 'ENCODE_ACCESS_METHOD')
    assert.equal(encodingActionAttempt.result, null)
    assert.equal(encodingActionAttempt.error, null)
    attempt = encodingActionAttempt
  },

  async polls_the_action_attempt() {
    const done = await waitFor('success', async () => {
      const polled = await seam.actionAttempts.get(
        { action_attempt_id: attempt.action_attempt_id },
        NO_WAIT,
      )
      return polled.status === 'success' ? polled : null
    })
    assert.equal(done.action_type, 'ENCODE_ACCESS_METHOD')
    assert.equal(done.error, null)
    assert.equal(done.result.access_method_id, accessMethodId)
    assert.equal(done.result.card_number, '1a000001')
    assert.equal(done.result.is_issued, true)
    assert.ok(done.result.issued_at)
  },

  async views_the_access_method() {
    const method = await seam.accessMethods.get({
      access_method_id: accessMethodId,
    })
    assert.ok(method.issued_at)
    assert.equal(method.is_issued, true)
    assert.equal(method.is_encoding_required, false)
  },

  async hears_of_the_issued_access_method_by_webhook() {
    const event = await receiver.event(
      verifier,
      (event) => event.access_method_id === accessMethodId,
    )
    assert.equal(event.event_type, 'access_method.issued')
    assert.equal(event.event_description, 'An access method was issued.')
    for (const field of ['event_id', 'workspace_id', 'created_at', 'occurred_at'])
      assert.equal(typeof event[field], 'string', field)
    assert.equal(event.acs_system_id, desk.acs_system_id)
    assert.equal(typeof event.connected_account_id, 'string')
    const stored = await seam.events.get({ event_id: event.event_id })
    assert.deepEqual(stored, event)
    const [{ headers, body }] = receiver.deliveries
    const stranger = new SeamWebhook(`whsec_${'A'.repeat(32)}`)
    assert.throws(() => stranger.verify(body, headers))
    assert.throws(() => verifier.verify(`${body} `, headers))
  },

  async hears_of_a_re_encoded_card_by_webhook() {
    await removeCard(control)
    await tell(control, 'new reused classic-1k uid 1a0000ff')
    await tell(control, 'place reused')
    await encodeMethod((await newGrant()).access_method_ids[0], WAIT)
    await removeCard(control)
    await tell(control, 'place reused')
    const third = (await newGrant()).access_method_ids[0]
    const encoded = await encodeMethod(third, WAIT)
    assert.equal(encoded.result.card_number, '1a0000ff')
    const event = await receiver.event(
      verifier,
      (event) => event.access_method_id === third,
    )
    assert.equal(event.event_type, 'access_method.reissued')
  },

  // Scan a Credential

  async scans_a_credential() {
    await freshCard(control, '1a000002')
    const guest = await seam.acs.users.create({
      acs_system_id: desk.acs_system_id,
      full_name: 'Guest',
    })
    const { acs_credential_id } = await seam.acs.credentials.create({
      acs_user_id: guest.acs_user_id,
      access_method: 'card',
      allowed_acs_entrance_ids: desk.acs_entrance_ids,
    })
    const { acs_encoder_id } = encoder
    await seam.acs.encoders.encodeCredential(
      { acs_credential_id, acs_encoder_id },
      WAIT,
    )
    const scan = await seam.acs.encoders.scanCredential({
      acs_encoder_id: encoder.acs_encoder_id,
    })
    assert.equal(scan.action_type, 'SCAN_CREDENTIAL')
    assert.equal(scan.status, 'success')
    assert.equal(scan.error, null)
    const { acs_credential_on_encoder, acs_credential_on_seam } = scan.result
    for (const field of ['card_number', 'created_at', 'ends_at', 'is_issued', 'starts_at'])
      assert.ok(field in acs_credential_on_encoder, field)
    assert.equal(acs_credential_on_encoder.card_number, '1a000002')
    assert.equal(acs_credential_on_encoder.is_issued, true)
    assert.equal(acs_credential_on_seam.card_number, '1a000002')
    assert.equal(acs_credential_on_seam.access_method, 'card')
    assert.equal(acs_credential_on_seam.is_managed, true)
    assert.deepEqual(scan.result.warnings, [])
    credential = acs_credential_on_seam
  },

  async scans_a_credential_that_is_out_of_sync() {
    await seam.acs.credentials.update({
      acs_credential_id: credential.acs_credential_id,
      ends_at: '2027-07-12T16:54:17.000Z',
    })
    const scan = await seam.acs.encoders.scanCredential({
      acs_encoder_id: encoder.acs_encoder_id,
    })
    assert.deepEqual(scan.result.warnings, [
      {
        warning_code: 'acs_credential_on_encoder_out_of_sync',
        warning_message:
          'The following properties are out of sync between acs_credential_on_encoder and acs_credential_on_seam: ends_at',
      },
    ])
    const changed = await seam.acs.credentials.get({
      acs_credential_id: credential.acs_credential_id,
    })
    const codes = changed.warnings.map(({ warning_code }) => warning_code)
    assert.ok(codes.includes('needs_to_be_reissued'), codes)
  },

  // Using Key Cards

  async verifies_entrance_support() {
    const entrances = await seam.acs.entrances.list({
      acs_system_id: desk.acs_system_id,
    })
    const cardEntrances = entrances.filter((e) => e.can_unlock_with_card)
    assert.equal(cardEntrances.length, entrances.length)
    assert.ok(entrances.length >= 2)
  },

  async creates_an_access_grant_with_a_key_card() {
    const person = await seam.userIdentities.create({ full_name: 'Key Card' })
    const accessGrant = await seam.accessGrants.create({
      user_identity_id: person.user_identity_id,
      acs_entrance_ids: [desk.acs_entrance_ids[0]],
      requested_access_methods: [{ mode: 'card' }],
      starts_at: '2027-07-13T15:00:00.000Z',
      ends_at: '2027-07-16T11:00:00.000Z',
    })
    assert.equal(accessGrant.user_identity_id, person.user_identity_id)
    grant = accessGrant
  },

  async looks_whether_to_encode_the_key_card() {
    const accessMethods = await seam.accessMethods.list({
      access_grant_id: grant.access_grant_id,
    })
    card = accessMethods[0]
    assert.equal(card.is_encoding_required, true)
    assert.equal(card.is_issued, false)
    assert.equal(card.mode, 'card')
    assert.ok(card.display_name)
  },

  async encodes_the_key_card() {
    await freshCard(control, '1a000003')
    // As printed: the SDK waits by itself, ten seconds at most.
    const actionAttempt = await seam.accessMethods.encode({
      access_method_id: card.access_method_id,
      acs_encoder_id: encoder.acs_encoder_id,
    })
    assert.equal(actionAttempt.status, 'success')
    const encoded = await seam.accessMethods.get({
      access_method_id: card.access_method_id,
    })
    assert.equal(encoded.is_encoding_required, false)
    assert.equal(encoded.is_issued, true)
  },

  async assigns_a_key_card() {
    const gym = await seam.accessGrants.create({
      user_identity: { full_name: 'Gym Member' },
      acs_entrance_ids: [desk.gym_entrance_id],
      requested_access_methods: [{ mode: 'card' }],
    })
    const access_method_id = gym.access_method_ids[0]
    const before = await seam.accessMethods.get({ access_method_id })
    assert.equal(before.is_assignment_required, true)
    const actionAttempt = await seam.accessMethods.assignCard({
      access_method_id,
      card_number: desk.registered_card,
    })
    assert.equal(actionAttempt.action_type, 'ASSIGN_CREDENTIAL')
    assert.equal(actionAttempt.status, 'success')
    const after = await seam.accessMethods.get({ access_method_id })
    assert.equal(after.is_assignment_required, false)
    assert.equal(after.is_issued, true)
    const unknown = await refused(SeamActionAttemptFailedError, async () => {
      const other = await newGymGrant()
      await seam.accessMethods.assignCard({
        access_method_id: other,
        card_number: 'no such card',
      })
    })
    assert.equal(unknown.code, 'credential_not_found')
  },

  async sees_which_doors_the_key_card_covers() {
    const related = await seam.accessMethods.getRelated({
      access_method_ids: [card.access_method_id],
    })
    const doors = related.acs_entrances.map((door) => door.acs_entrance_id)
    assert.deepEqual(doors, [desk.acs_entrance_ids[0]])
  },

  // What holds for every guide

  async a_credential_goes_the_same_way() {
    const acsUser = await seam.acs.users.create({
      acs_system_id: desk.acs_system_id,
      full_name: 'Jane Doe',
      email_address: 'jane@example.com',
    })
    const made = await seam.acs.credentials.create({
      acs_user_id: acsUser.acs_user_id,
      access_method: 'card',
      allowed_acs_entrance_ids: desk.acs_entrance_ids,
      starts_at: '2026-12-01T15:00:00.000Z',
      ends_at: '2026-12-04T12:00:00.000Z',
    })
    assert.equal(made.is_issued, false)
    await freshCard(control, '1a000004')
    const encoded = await seam.acs.encoders.encodeCredential(
      {
        acs_credential_id: made.acs_credential_id,
        acs_encoder_id: encoder.acs_encoder_id,
      },
      WAIT,
    )
    assert.equal(encoded.action_type, 'ENCODE_CREDENTIAL')
    assert.equal(encoded.result.card_number, '1a000004')
    const accessible = await seam.acs.credentials.listAccessibleEntrances({
      acs_credential_id: made.acs_credential_id,
    })
    assert.equal(accessible.length, desk.acs_entrance_ids.length)
    const issued = await seam.events.list({
      since: EVER,
      acs_credential_id: made.acs_credential_id,
      event_type: 'acs_credential.issued',
    })
    assert.equal(issued.length, 1)
  },

  async a_failed_encode_is_an_error_of_its_own_kind() {
    await removeCard(control)
    await freshCard(control, '04a0b0c0d0e0f0', 'desfire')
    const error = await refused(
      SeamActionAttemptFailedError,
      async () => await encodeMethod((await newGrant()).access_method_ids[0], WAIT),
    )
    assert.equal(error.code, 'incompatible_card_format')
    assert.equal(error.actionAttempt.status, 'error')
    assert.equal(error.actionAttempt.error.touched, 'untouched')
  },

  async waiting_ends_before_the_attempt_does() {
    await removeCard(control)
    const method = (await newGrant()).access_method_ids[0]
    const error = await refused(SeamActionAttemptTimeoutError, async () => {
      await encodeMethod(method, {
        waitForActionAttempt: { timeout: 300, pollingInterval: 50 },
      })
    })
    assert.equal(error.actionAttempt.status, 'pending')
    await freshCard(control, '1a000005')
    const done = await finished(error.actionAttempt)
    assert.equal(done.status, 'success')
    assert.equal(done.result.card_number, '1a000005')
  },

  async a_simulated_encoder_does_what_it_was_said_to() {
    const acs_encoder_id = desk.simulated_encoder_id
    const { simulate } = seam.acs.encoders
    const guest = await seam.acs.users.create({
      acs_system_id: desk.simulated_system_id,
      full_name: 'Jane Doe',
    })
    const { acs_credential_id } = await seam.acs.credentials.create({
      acs_user_id: guest.acs_user_id,
      access_method: 'card',
    })
    const encode = async () =>
      await seam.acs.encoders.encodeCredential(
        { acs_credential_id, acs_encoder_id },
        WAIT,
      )
    const scan = async () =>
      await seam.acs.encoders.scanCredential({ acs_encoder_id }, WAIT)
    await simulate.nextCredentialEncodeWillFail({
      acs_encoder_id,
      error_code: 'no_credential_on_encoder',
    })
    const failed = await refused(SeamActionAttemptFailedError, encode)
    assert.equal(failed.code, 'no_card_on_encoder')
    await simulate.nextCredentialEncodeWillSucceed({ acs_encoder_id })
    const encoded = await encode()
    assert.equal(encoded.result.is_issued, true)
    await simulate.nextCredentialScanWillSucceed({
      acs_encoder_id,
      scenario: 'credential_exists_on_seam',
      acs_credential_id_on_seam: acs_credential_id,
    })
    const found = await scan()
    const { acs_credential_on_seam, warnings } = found.result
    assert.equal(acs_credential_on_seam.acs_credential_id, acs_credential_id)
    assert.deepEqual(warnings, [])
    await simulate.nextCredentialScanWillFail({
      acs_encoder_id,
      error_code: 'no_credential_on_encoder',
    })
    const none = await refused(SeamActionAttemptFailedError, scan)
    assert.equal(none.code, 'no_card_on_encoder')
  },

  async bad_input_is_told_as_the_sdk_expects() {
    const invalid = await refused(SeamHttpInvalidInputError, async () => {
      await seam.acs.encoders.get({ acs_encoder_id: 'not-a-uuid' })
    })
    assert.ok(invalid.getValidationErrorMessages('acs_encoder_id').length > 0)
    assert.ok(invalid.requestId)
    const missing = await refused(SeamHttpApiError, async () => {
      await seam.acs.encoders.get({ acs_encoder_id: desk.acs_system_id })
    })
    assert.equal(missing.statusCode, 404)
    assert.equal(missing.code, 'acs_encoder_not_found')
    assert.ok(missing.requestId)
    const stranger = new Seam({ apiKey: 'seam_wrong', endpoint })
    await refused(
      SeamHttpUnauthorizedError,
      async () => await stranger.acs.systems.list(),
    )
  },

  async pages_lead_through_every_credential() {
    const list = seam.acs.credentials.list({
      acs_system_id: desk.acs_system_id,
      limit: 2,
    })
    const pages = seam.createPaginator(list)
    const [first, { hasNextPage, nextPageCursor }] = await pages.firstPage()
    assert.equal(first.length, 2)
    assert.equal(hasNextPage, true)
    const [second] = await pages.nextPage(nextPageCursor)
    const every = await pages.flattenToArray()
    const ids = every.map(({ acs_credential_id }) => acs_credential_id)
    assert.equal(new Set(ids).size, ids.length)
    assert.deepEqual(
      ids.slice(0, 4),
      [...first, ...second].map(({ acs_credential_id }) => acs_credential_id),
    )
    const whole = await seam.acs.credentials.list({
      acs_system_id: desk.acs_system_id,
    })
    assert.equal(ids.length, whole.length)
  },

  async a_personal_access_token_opens_two_workspaces() {
    const systems = async (workspaceId) => {
      const client = new Seam({
        personalAccessToken: desk.personal_access_token,
        workspaceId,
        endpoint,
      })
      const workspace = await client.workspaces.get()
      assert.equal(workspace.workspace_id, workspaceId)
      const listed = await client.acs.systems.list()
      return listed.map(({ acs_system_id }) => acs_system_id)
    }
    const [own, other] = desk.workspace_ids
    assert.ok((await systems(own)).includes(desk.acs_system_id))
    assert.deepEqual(await systems(other), [desk.other_system_id])
    await refused(
      SeamHttpUnauthorizedError,
      async () => await systems('00000000-0000-4000-8000-000000000000'),
    )
  },
}

const newGymGrant = async () => {
  const gym = await seam.accessGrants.create({
    user_identity: { full_name: 'Another Member' },
    acs_entrance_ids: [desk.gym_entrance_id],
    requested_access_methods: [{ mode: 'card' }],
  })
  return gym.access_method_ids[0]
}

for (const [name, run] of Object.entries(cases)) {
  const began = Date.now()
  try {
    await run()
    console.log(`ok ${name} ${((Date.now() - began) / 1000).toFixed(1)}`)
  } catch (error) {
    const reason = `${error.stack ?? error}`.replaceAll('\n', '\\n')
    console.log(`FAIL ${name} ${reason}`)
  }
}
process.exit(0)
