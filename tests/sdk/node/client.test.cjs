// OpenAI's official Node client against a running server. `tests/sdk/main.rs` starts the servers and says where
// they are: OPEN_URL (no key), KEYED_URL (FIRST_KEY, SECOND_KEY), SMALL_URL (SMALL_LIMIT bytes), FIXTURES.
'use strict';

// Before Node 20, File was there but not global.
globalThis.File ??= require('node:buffer').File;

const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { describe, test } = require('node:test');
const { OpenAI, toFile } = require('openai');

const fixtures = process.env.FIXTURES;
const expected = (name) => fs.readFileSync(path.join(fixtures, 'expected', name), 'utf8');
const hello = path.join(fixtures, 'audio/hello.flac');
const text = expected('hello.txt').trim();
const truth = JSON.parse(expected('hello.json'));
const rows = expected('sentences.tsv').trim().split('\n').slice(1).map((line) => line.split('\t'));
const sentence = path.join(fixtures, 'audio', rows[0][0]);
const sentenceText = rows[0][1];
const timeTolerance = 0.3;

const client = (url = 'OPEN_URL', apiKey = 'any key at all') =>
  new OpenAI({ baseURL: `${process.env[url]}/v1`, apiKey, maxRetries: 0, timeout: 120_000 });
const openai = client();

/** The form of all of OpenAI's examples: a stream of unknown length, ahead of every other field. */
const transcribe = (fields = {}, file = fs.createReadStream(hello), by = openai) =>
  by.audio.transcriptions.create({ file, model: 'whisper-1', ...fields });

const words = (spoken) => spoken.toLowerCase().match(/[a-z']+/g);
const seconds = (stamp) => stamp.replace(',', '.').split(':').reduce((sum, part) => sum * 60 + Number(part), 0);

function checkCues(body, mark) {
  const cue = new RegExp(`(?:\\d+\\n)?(\\d\\d:\\d\\d:\\d\\d\\${mark}\\d{3}) --> (\\d\\d:\\d\\d:\\d\\d\\${mark}\\d{3})\\n((?:.+\\n)+)\\n`, 'g');
  const cues = [...body.matchAll(cue)].map(([, start, end, said]) => [seconds(start), seconds(end), said]);
  assert.equal(body.replace(cue, '').trim(), '', 'something is not a cue');
  assert.deepEqual(cues.flatMap(([, , said]) => said.trim().split(/\s+/)), text.split(' '));
  for (const segment of truth.segments) {
    assert.ok(cues.some(([start]) => Math.abs(start - segment.start) <= timeTolerance), `${segment.text}: ${body}`);
    assert.ok(cues.some(([, end]) => Math.abs(end - segment.end) <= timeTolerance), `${segment.text}: ${body}`);
  }
}

describe('formats', () => {
  test('json', async () => {
    const answer = await transcribe();
    assert.equal(answer.text, text);
    assert.deepEqual(answer.usage, { type: 'duration', seconds: 14 });
    assert.ok(answer._request_id);
  });

  test('text', async () => {
    assert.equal(await transcribe({ response_format: 'text' }), `${text}\n`);
  });

  test('srt', async () => {
    const answer = await transcribe({ response_format: 'srt' });
    assert.match(answer, /^1\n00:00:00,/);
    checkCues(answer, ',');
  });

  test('vtt', async () => {
    const answer = await transcribe({ response_format: 'vtt' });
    assert.match(answer, /^WEBVTT\n\n00:00:00\./);
    checkCues(answer.slice('WEBVTT\n\n'.length), '.');
  });

  test('verbose_json with words and segments', async () => {
    const answer = await transcribe({ response_format: 'verbose_json', timestamp_granularities: ['word', 'segment'] });
    assert.equal(answer.task, 'transcribe');
    assert.equal(answer.text, text);
    assert.equal(answer.language, 'english');
    assert.equal(typeof answer.duration, 'number');
    assert.ok(Math.abs(answer.duration - truth.duration) <= 0.05);
    assert.deepEqual(answer.segments.map((segment) => segment.text.trim()), truth.segments.map((segment) => segment.text));
    answer.segments.forEach((segment, id) => {
      assert.equal(segment.id, id);
      assert.ok(Math.abs(segment.start - truth.segments[id].start) <= timeTolerance);
      assert.ok(Math.abs(segment.end - truth.segments[id].end) <= timeTolerance);
      for (const field of ['seek', 'temperature', 'avg_logprob', 'compression_ratio', 'no_speech_prob']) {
        assert.equal(typeof segment[field], 'number', field);
      }
    });
    assert.deepEqual(answer.words.map((word) => word.word.toLowerCase()), words(text));
  });
});

describe('streams', () => {
  for (const model of ['gpt-4o-transcribe', 'whisper-1']) {
    test(`the deltas of ${model} add up to the transcript`, async () => {
      const events = [];
      for await (const event of await transcribe({ model, stream: true })) events.push(event);
      const done = events.pop();
      assert.equal(done.type, 'transcript.text.done');
      assert.equal(done.text, text);
      assert.ok(events.length > 1);
      assert.ok(events.every((event) => event.type === 'transcript.text.delta'));
      assert.equal(events.map((event) => event.delta).join(''), text);
    });
  }

  test('a stream can be left', async () => {
    for await (const event of await transcribe({ stream: true })) {
      assert.equal(event.type, 'transcript.text.delta');
      break;
    }
    assert.equal((await transcribe({}, fs.createReadStream(sentence))).text, sentenceText);
  });
});

describe('uploads', () => {
  test('the model may come before the file', async () => {
    const answer = await openai.audio.transcriptions.create({ model: 'whisper-1', file: fs.createReadStream(sentence) });
    assert.equal(answer.text, sentenceText);
  });

  test('buffers and blobs, whatever they are called', async () => {
    const bytes = fs.readFileSync(sentence);
    for (const file of [await toFile(bytes, '録音 "1".mp3'), new Blob([bytes]), new File([bytes], 'a.wav', { type: 'video/mp4' })]) {
      assert.equal((await transcribe({}, file)).text, sentenceText);
    }
  });

  test('names in any script', async () => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'diarist-'));
    try {
      const copy = path.join(folder, 'Aufnahme – Größe 1 🎙.flac');
      fs.copyFileSync(sentence, copy);
      assert.equal((await transcribe({}, fs.createReadStream(copy))).text, sentenceText);
    } finally {
      fs.rmSync(folder, { recursive: true });
    }
  });

  test('many at once get their own answers', async () => {
    const answers = await Promise.all(
      rows.slice(0, 8).map(([name]) => transcribe({}, fs.createReadStream(path.join(fixtures, 'audio', name)))),
    );
    assert.deepEqual(answers.map((answer) => answer.text), rows.slice(0, 8).map(([, said]) => said));
  });
});

describe('fields', () => {
  test('everything at once', async () => {
    const answer = await transcribe({
      model: 'gpt-4o-transcribe',
      language: 'en',
      prompt: '',
      temperature: 0,
      response_format: 'json',
      include: ['logprobs'],
      chunking_strategy: { type: 'server_vad', threshold: 0.4, prefix_padding_ms: 200, silence_duration_ms: 300 },
    });
    assert.equal(answer.text, text);
    assert.equal(answer.logprobs.map((entry) => entry.token).join('').trim(), text);
  });

  test('translations', async () => {
    const fields = { file: fs.createReadStream(hello), model: 'whisper-1', response_format: 'verbose_json' };
    const answer = await openai.audio.translations.create(fields);
    assert.deepEqual([answer.task, answer.language, answer.text], ['translate', 'english', text]);
  });
});

describe('models', () => {
  test('list and retrieve', async () => {
    const listed = [];
    for await (const model of openai.models.list()) listed.push(model.id);
    assert.ok(listed.includes('diarist-micro-en'));
    assert.equal((await openai.models.retrieve('whisper-1')).object, 'model');
    await assert.rejects(openai.models.retrieve('nobody/no such:model'), (error) => {
      assert.ok(error instanceof OpenAI.NotFoundError);
      assert.equal(error.code, 'model_not_found');
      return true;
    });
  });
});

describe('errors', () => {
  const refused = (work, kind, status, param) =>
    assert.rejects(work, (error) => {
      assert.ok(error instanceof kind, String(error));
      assert.equal(error.status, status);
      assert.equal(error.param ?? null, param);
      assert.ok(error.requestID);
      return true;
    });

  test('wrong values are named', async () => {
    await refused(transcribe({ response_format: 'docx' }), OpenAI.BadRequestError, 400, 'response_format');
    await refused(transcribe({ language: 'this is bad' }), OpenAI.BadRequestError, 400, 'language');
  });

  test('a wrong key', async () => {
    const work = transcribe({}, fs.createReadStream(hello), client('KEYED_URL', 'wrong'));
    await refused(work, OpenAI.AuthenticationError, 401, null);
    const right = await transcribe({}, fs.createReadStream(sentence), client('KEYED_URL', process.env.SECOND_KEY));
    assert.equal(right.text, sentenceText);
  });

  test('an upload over the limit is answered, though its length is not known ahead', async () => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'diarist-'));
    try {
      const long = path.join(folder, 'long.wav');
      fs.writeFileSync(long, '');
      fs.truncateSync(long, Number(process.env.SMALL_LIMIT) + 30_000_000);
      const small = client('SMALL_URL');
      await refused(transcribe({}, fs.createReadStream(long), small), OpenAI.APIError, 413, null);
      await refused(transcribe({}, await toFile(fs.readFileSync(long), 'long.wav'), small), OpenAI.APIError, 413, null);
      assert.equal((await transcribe({}, fs.createReadStream(sentence), small)).text, sentenceText);
    } finally {
      fs.rmSync(folder, { recursive: true });
    }
  });

  test('the server goes on after a client that gave up', async () => {
    const abort = new AbortController();
    const work = openai.audio.transcriptions.create(
      { file: fs.createReadStream(hello), model: 'whisper-1' },
      { signal: abort.signal },
    );
    setTimeout(() => abort.abort(), 50);
    await assert.rejects(work, OpenAI.APIUserAbortError);
    assert.equal((await transcribe({}, fs.createReadStream(sentence))).text, sentenceText);
  });
});

describe('speakers', () => {
  const dialogue = path.join(fixtures, 'audio/dialogue.flac');
  const spoken = JSON.parse(expected('dialogue.json')).segments;
  const voices = ['flite-awb', 'espeak-us-f4'];
  const fields = { model: 'gpt-4o-transcribe-diarize', response_format: 'diarized_json', chunking_strategy: 'auto' };
  const diarize = (more = {}) => transcribe({ ...fields, ...more }, fs.createReadStream(dialogue));
  const clip = (voice) => {
    const [name] = rows.find(([, , by, start, end]) => by === voice && end - start >= 2);
    return `data:audio/flac;base64,${fs.readFileSync(path.join(fixtures, 'audio', name)).toString('base64')}`;
  };

  /** Consecutive segments of one speaker are a line; lines are the sentences of the dialogue. */
  function checkLines(segments, labels) {
    const lines = [];
    for (const { type, id, start, end, text: said, speaker } of segments) {
      assert.equal(type, 'transcript.text.segment');
      assert.match(id, /^seg_\d+$/);
      assert.ok(start < end);
      const last = lines.at(-1);
      if (last?.[0] === speaker) last[1] += said;
      else lines.push([speaker, said]);
    }
    const truth = spoken.map(({ voice, text: said }) => [labels[voices.indexOf(voice)], said]);
    assert.deepEqual(lines.map(([speaker, said]) => [speaker, said.trim()]), truth);
  }

  test('diarized_json', async () => {
    const answer = await diarize();
    assert.equal(answer.task, 'transcribe');
    assert.equal(answer.text, spoken.map(({ text: said }) => said).join(' '));
    checkLines(answer.segments, ['A', 'B']);
  });

  test('a stream is segments and then done', async () => {
    const events = [];
    for await (const event of await diarize({ stream: true })) events.push(event);
    const done = events.pop();
    checkLines(events, ['A', 'B']);
    assert.equal(done.type, 'transcript.text.done');
    assert.equal(events.map((event) => event.text).join('').trim(), done.text);
  });

  test('known speakers, as this client and as the examples for it spell them', async () => {
    const known = { known_speaker_names: ['Fiona'], known_speaker_references: [clip(voices[1])] };
    checkLines((await diarize(known)).segments, ['A', 'Fiona']);
    checkLines((await diarize({ extra_body: known })).segments, ['A', 'Fiona']);
  });

  test('five known speakers are too many', async () => {
    const five = Array(5).fill(clip(voices[0]));
    const names = ['a', 'b', 'c', 'd', 'e'];
    const work = diarize({ known_speaker_names: names, known_speaker_references: five });
    await assert.rejects(work, (error) => {
      assert.ok(error instanceof OpenAI.BadRequestError);
      assert.equal(error.param, 'known_speaker_names');
      return true;
    });
  });
});
