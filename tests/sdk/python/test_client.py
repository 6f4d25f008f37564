"""OpenAI's official Python client, in its strictest mode, against a running server.

`tests/sdk/main.rs` starts the servers and says where they are:

    OPEN_URL     a server that asks for no key
    KEYED_URL    a server that wants FIRST_KEY or SECOND_KEY
    SMALL_URL    a server that takes uploads of at most SMALL_LIMIT bytes
    FIXTURES     the folder of recordings
"""

import asyncio
import base64
import io
import json
import os
import re
import shutil
import tempfile
import unittest
from pathlib import Path

import openai
from openai import AsyncOpenAI, OpenAI
from openai.types import audio as audio_types

FIXTURES = Path(os.environ["FIXTURES"])
HELLO = FIXTURES / "audio" / "hello.flac"
TEXT = (FIXTURES / "expected" / "hello.txt").read_text().strip()
TRUTH = json.loads((FIXTURES / "expected" / "hello.json").read_text())
SENTENCE, SENTENCE_TEXT = (FIXTURES / "expected" / "sentences.tsv").read_text().splitlines()[1].split("\t")[:2]
SENTENCE = FIXTURES / "audio" / SENTENCE
TIME_TOLERANCE = 0.3


def client(url="OPEN_URL", key="any key at all", kind=OpenAI):
    return kind(
        base_url=os.environ[url] + "/v1",
        api_key=key,
        max_retries=0,
        timeout=120,
        _strict_response_validation=True,
    )


def words(text):
    return re.findall(r"[a-z']+", text.lower())


def cue_seconds(stamp):
    hours, minutes, seconds = stamp.replace(",", ".").split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


class Case(unittest.TestCase):
    def setUp(self):
        self.client = client()

    def transcribe(self, file=HELLO, model="whisper-1", **fields):
        return self.client.audio.transcriptions.create(file=file, model=model, **fields)


class Formats(Case):
    def test_json(self):
        answer = self.transcribe(response_format="json")
        self.assertEqual(answer.text, TEXT)
        self.assertTrue(answer._request_id)

    def test_json_is_the_default_and_says_what_it_took(self):
        answer = self.transcribe()
        self.assertEqual(answer.text, TEXT)
        self.assertEqual(answer.usage.type, "duration")
        self.assertEqual(answer.usage.seconds, 14)
        self.assertIsNone(answer.logprobs)

    def test_text(self):
        self.assertEqual(self.transcribe(response_format="text"), TEXT + "\n")

    def test_srt(self):
        answer = self.transcribe(response_format="srt")
        self.assertTrue(answer.startswith("1\n00:00:00,"), answer)
        self.assertTrue(answer.endswith("\n\n\n"), answer)
        self.check_cues(answer, ",")

    def test_vtt(self):
        answer = self.transcribe(response_format="vtt")
        self.assertTrue(answer.startswith("WEBVTT\n\n00:00:00."), answer)
        self.assertTrue(answer.endswith("\n\n"), answer)
        self.check_cues(answer.removeprefix("WEBVTT\n\n"), ".")

    def check_cues(self, body, mark):
        cue = re.compile(rf"(?:\d+\n)?(\d\d:\d\d:\d\d\{mark}\d\d\d) --> (\d\d:\d\d:\d\d\{mark}\d\d\d)\n((?:.+\n)+)\n")
        cues = [(cue_seconds(start), cue_seconds(end), text.split()) for start, end, text in cue.findall(body)]
        self.assertEqual(cue.sub("", body).strip(), "", "something is not a cue")
        self.assertEqual([word for _, _, text in cues for word in text], TEXT.split())
        for start, end, _ in cues:
            self.assertLess(start, end)
        for sentence in TRUTH["segments"]:
            self.assertTrue(
                any(abs(start - sentence["start"]) <= TIME_TOLERANCE for start, _, _ in cues),
                f"no cue starts with {sentence}: {cues}",
            )
            self.assertTrue(
                any(abs(end - sentence["end"]) <= TIME_TOLERANCE for _, end, _ in cues),
                f"no cue ends with {sentence}: {cues}",
            )

    def test_verbose_json_with_words_and_segments(self):
        answer = self.transcribe(response_format="verbose_json", timestamp_granularities=["word", "segment"])
        self.assertEqual(answer.text, TEXT)
        self.assertEqual(answer.language, "english")
        self.assertAlmostEqual(float(answer.duration), TRUTH["duration"], delta=0.05)
        self.check_segments(answer.segments)
        self.assertEqual([word.word.lower() for word in answer.words], words(TEXT))
        self.assertEqual(sorted(word.start for word in answer.words), [word.start for word in answer.words])
        self.check_words_lie_in_their_sentences(answer.words)

    def check_segments(self, segments):
        self.assertEqual([segment.id for segment in segments], list(range(len(segments))))
        self.assertEqual("".join(segment.text for segment in segments).strip(), TEXT)
        self.assertEqual(len(segments), len(TRUTH["segments"]))
        for segment, truth in zip(segments, TRUTH["segments"]):
            self.assertEqual(segment.text.strip(), truth["text"])
            self.assertAlmostEqual(segment.start, truth["start"], delta=TIME_TOLERANCE)
            self.assertAlmostEqual(segment.end, truth["end"], delta=TIME_TOLERANCE)
            self.assertLess(segment.avg_logprob, 0)
            self.assertGreater(segment.compression_ratio, 0)
            self.assertTrue(segment.tokens)

    def check_words_lie_in_their_sentences(self, found):
        position = 0
        for sentence in TRUTH["segments"]:
            count = len(words(sentence["text"]))
            for word in found[position : position + count]:
                self.assertGreaterEqual(word.start, sentence["start"] - TIME_TOLERANCE, word)
                self.assertLessEqual(word.end, sentence["end"] + TIME_TOLERANCE, word)
                self.assertLessEqual(word.start, word.end, word)
            position += count

    def test_verbose_json_has_segments_alone_unless_words_are_asked_for(self):
        answer = self.transcribe(response_format="verbose_json")
        self.check_segments(answer.segments)
        self.assertIsNone(answer.words)
        answer = self.transcribe(response_format="verbose_json", timestamp_granularities=["word"])
        self.assertIsNone(answer.segments)
        self.assertEqual([word.word.lower() for word in answer.words], words(TEXT))

    def test_the_same_request_gets_the_same_answer(self):
        fields = {"response_format": "verbose_json", "timestamp_granularities": ["word", "segment"]}
        self.assertEqual(self.transcribe(**fields).to_dict(), self.transcribe(**fields).to_dict())

    def test_silence_has_no_words(self):
        silence = FIXTURES / "audio" / "silence.wav"
        self.assertEqual(self.transcribe(silence).text, "")
        answer = self.transcribe(silence, response_format="verbose_json")
        self.assertEqual((answer.text, answer.segments), ("", []))
        self.assertAlmostEqual(float(answer.duration), 2.0, delta=0.05)


class Streams(Case):
    def check_events(self, events, text):
        *deltas, done = events
        self.assertEqual({event.type for event in deltas}, {"transcript.text.delta"})
        self.assertEqual(done.type, "transcript.text.done")
        self.assertEqual(done.text, text)
        self.assertEqual("".join(event.delta for event in deltas), text)

    def test_deltas_add_up_to_the_transcript(self):
        events = list(self.transcribe(model="gpt-4o-transcribe", stream=True))
        self.assertGreater(len(events), 2)
        self.check_events(events, TEXT)

    def test_whisper_1_streams_too(self):
        self.check_events(list(self.transcribe(SENTENCE, stream=True)), SENTENCE_TEXT)

    def test_probabilities_come_with_the_deltas_and_at_the_end(self):
        *deltas, done = self.transcribe(SENTENCE, model="gpt-4o-transcribe", stream=True, include=["logprobs"])
        said = [entry for event in deltas for entry in event.logprobs or []]
        self.assertEqual("".join(entry.token for entry in said).strip(), SENTENCE_TEXT)
        self.assertEqual([entry.token for entry in done.logprobs], [entry.token for entry in said])

    def test_stream_false_is_no_stream(self):
        self.assertEqual(self.transcribe(SENTENCE, stream=False).text, SENTENCE_TEXT)

    def test_a_stream_can_be_left(self):
        with self.transcribe(stream=True) as stream:
            self.assertEqual(next(iter(stream)).type, "transcript.text.delta")
        self.assertEqual(self.transcribe(SENTENCE).text, SENTENCE_TEXT)


class Uploads(Case):
    def test_open_file(self):
        with open(HELLO, "rb") as file:
            self.assertEqual(self.transcribe(file).text, TEXT)

    def test_bytes_without_a_name(self):
        self.assertEqual(self.transcribe(SENTENCE.read_bytes()).text, SENTENCE_TEXT)
        self.assertEqual(self.transcribe(io.BytesIO(SENTENCE.read_bytes())).text, SENTENCE_TEXT)

    def test_the_content_decides_and_not_the_name_or_type(self):
        lie = ("speech.mp3", SENTENCE.read_bytes(), "audio/mpeg")
        self.assertEqual(self.transcribe(lie).text, SENTENCE_TEXT)

    def test_names_in_any_script(self):
        for name in ("prüfung.flac", "録音 1.flac", 'so "quoted".flac', "../../etc/passwd", "a\\b:c.flac"):
            with self.subTest(name):
                self.assertEqual(self.transcribe((name, SENTENCE.read_bytes())).text, SENTENCE_TEXT)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(shutil.copy(SENTENCE, Path(folder, "Aufnahme – Größe 1 🎙.flac")))
            self.assertEqual(self.transcribe(path).text, SENTENCE_TEXT)


class Fields(Case):
    def test_everything_at_once(self):
        answer = self.transcribe(
            model="gpt-4o-transcribe",
            language="en",
            prompt="",
            temperature=0,
            response_format="json",
            include=["logprobs"],
            chunking_strategy={"type": "server_vad", "threshold": 0.4, "prefix_padding_ms": 200, "silence_duration_ms": 300},
        )
        self.assertEqual(answer.text, TEXT)
        self.assertEqual("".join(entry.token for entry in answer.logprobs).strip(), TEXT)
        for entry in answer.logprobs:
            self.assertLessEqual(entry.logprob, 0)
            self.assertEqual(bytes(int(byte) for byte in entry.bytes).decode(), entry.token)

    def test_chunking_auto(self):
        self.assertEqual(self.transcribe(SENTENCE, chunking_strategy="auto").text, SENTENCE_TEXT)

    def test_unknown_fields_are_ignored_and_reported(self):
        answer = self.transcribe(SENTENCE, extra_body={"vad_filter": True, "nested": {"deep": [1]}})
        self.assertEqual(answer.text, SENTENCE_TEXT)
        self.assertIn("vad_filter", str(answer.to_dict()["warnings"]))


class Models(Case):
    def test_list_and_retrieve(self):
        listed = [model.id for model in self.client.models.list()]
        self.assertIn("diarist-micro-en", listed)
        for name in listed:
            model = self.client.models.retrieve(name)
            self.assertEqual((model.id, model.object), (name, "model"))
            self.assertGreaterEqual(model.created, 0)

    def test_every_listed_model_transcribes(self):
        for model in self.client.models.list():
            with self.subTest(model.id):
                self.assertTrue(self.transcribe(SENTENCE, model=model.id).text)

    def test_the_models_own_name_and_openais(self):
        for name in ("diarist-micro-en", "whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe"):
            with self.subTest(name):
                self.assertEqual(self.transcribe(SENTENCE, model=name).text, SENTENCE_TEXT)

    def test_a_model_that_is_not_there(self):
        for name in ("no-such-model", "nobody/no such:model"):
            with self.subTest(name), self.assertRaises(openai.NotFoundError) as caught:
                self.client.models.retrieve(name)
            self.assertEqual(caught.exception.code, "model_not_found")
            self.assertEqual(caught.exception.param, "model")
            self.assertIn(name, str(caught.exception))


class Translations(Case):
    def test_english_stays_english(self):
        answer = self.client.audio.translations.create(file=SENTENCE, model="whisper-1")
        self.assertEqual(answer.text, SENTENCE_TEXT)

    def test_verbose_json(self):
        answer = self.client.audio.translations.create(file=SENTENCE, model="whisper-1", response_format="verbose_json")
        self.assertEqual((answer.text, answer.language), (SENTENCE_TEXT, "english"))
        self.assertEqual(answer.to_dict()["task"], "translate")

    def test_text_and_subtitles(self):
        for form, start in (("text", SENTENCE_TEXT), ("srt", "1\n00:00:00,"), ("vtt", "WEBVTT\n\n00:00:00.")):
            answer = self.client.audio.translations.create(file=SENTENCE, model="whisper-1", response_format=form)
            self.assertTrue(answer.startswith(start), answer)


class Errors(Case):
    def refused(self, kind=openai.BadRequestError, file=SENTENCE, **fields):
        with self.assertRaises(kind) as caught:
            self.transcribe(file, **fields)
        self.assertTrue(caught.exception.request_id)
        self.assertEqual(caught.exception.type, "invalid_request_error")
        return caught.exception

    def test_wrong_values_are_named(self):
        self.assertEqual(self.refused(response_format="docx").param, "response_format")
        self.assertEqual(self.refused(temperature="warm").param, "temperature")
        self.assertEqual(self.refused(chunking_strategy={"type": "psychic"}).param, "chunking_strategy")
        language = self.refused(language="this is bad")
        self.assertEqual((language.param, language.code), ("language", "invalid_language_format"))

    def test_unknown_model(self):
        error = self.refused(kind=openai.APIStatusError, model="no-such-model")
        self.assertIn(error.status_code, (400, 404))
        self.assertEqual((error.param, error.code), ("model", "model_not_found"))

    def test_what_is_no_recording(self):
        self.refused(file=("noise.wav", os.urandom(20_000)))
        self.refused(file=("empty.wav", b""))
        self.refused(file=("page.mp3", b"<html>nothing to hear</html>"))

    def test_a_stream_of_what_is_no_recording_is_an_ordinary_error(self):
        self.refused(file=("noise.wav", os.urandom(20_000)), stream=True)

    def test_no_such_path(self):
        with self.assertRaises(openai.NotFoundError) as caught:
            self.client.embeddings.create(model="whisper-1", input="x")
        self.assertTrue(caught.exception.request_id)

    def test_an_upload_over_the_limit(self):
        small = client("SMALL_URL")
        too_much = b"\0" * (int(os.environ["SMALL_LIMIT"]) + 30_000_000)
        with self.assertRaises(openai.APIStatusError) as caught:
            small.audio.transcriptions.create(file=("long.wav", too_much), model="whisper-1")
        self.assertEqual(caught.exception.status_code, 413)
        self.assertEqual(small.audio.transcriptions.create(file=SENTENCE, model="whisper-1").text, SENTENCE_TEXT)

    def test_the_server_goes_on_after_a_client_that_gave_up(self):
        with self.assertRaises(openai.APITimeoutError):
            self.client.with_options(timeout=0.02).audio.transcriptions.create(file=HELLO, model="whisper-1")
        self.assertEqual(self.transcribe(SENTENCE).text, SENTENCE_TEXT)


DIALOGUE = FIXTURES / "audio" / "dialogue.flac"
DIALOGUE_TRUTH = json.loads((FIXTURES / "expected" / "dialogue.json").read_text())


def voice_clip(voice):
    """A sentence of a voice, as OpenAI's examples send it."""
    for row in (FIXTURES / "expected" / "sentences.tsv").read_text().splitlines()[1:]:
        name, _, spoken_by, start, end = row.split("\t")
        if spoken_by == voice and 2.0 <= float(end) - float(start):
            data = base64.b64encode((FIXTURES / "audio" / name).read_bytes()).decode()
            return f"data:audio/flac;base64,{data}"
    raise LookupError(voice)


@unittest.skipUnless(hasattr(audio_types, "TranscriptionDiarized"), "this client knows nothing of speakers")
class Speakers(Case):
    VOICES = ["flite-awb", "espeak-us-f4"]

    def diarize(self, file=DIALOGUE, model="gpt-4o-transcribe-diarize", **fields):
        return self.transcribe(file, model, response_format="diarized_json", chunking_strategy="auto", **fields)

    def check_lines(self, segments, labels):
        """Consecutive segments of one speaker are a line; lines are the sentences of the dialogue."""
        lines = []
        for segment in segments:
            self.assertEqual(segment.type, "transcript.text.segment")
            self.assertLess(segment.start, segment.end)
            if lines and lines[-1][0] == segment.speaker:
                lines[-1][1] += segment.text
            else:
                lines.append([segment.speaker, segment.text])
        truth = [(labels[self.VOICES.index(line["voice"])], line["text"]) for line in DIALOGUE_TRUTH["segments"]]
        self.assertEqual([(speaker, text.strip()) for speaker, text in lines], truth)
        self.assertEqual([segment.id for segment in segments], [f"seg_{n}" for n in range(len(segments))])
        starts = [segment.start for segment in segments]
        self.assertEqual(starts, sorted(starts))

    def test_diarized_json_of_any_model(self):
        for model in ("gpt-4o-transcribe-diarize", "whisper-1"):
            answer = self.diarize(model=model)
            self.assertIsInstance(answer, audio_types.TranscriptionDiarized)
            self.assertEqual(answer.task, "transcribe")
            self.assertAlmostEqual(float(answer.duration), DIALOGUE_TRUTH["duration"], delta=0.05)
            self.assertEqual(answer.text, " ".join(line["text"] for line in DIALOGUE_TRUTH["segments"]))
            self.check_lines(answer.segments, ["A", "B"])

    def test_a_stream_is_segments_and_then_done(self):
        *segments, done = self.diarize(stream=True)
        self.check_lines(segments, ["A", "B"])
        self.assertEqual(done.type, "transcript.text.done")
        self.assertEqual("".join(segment.text for segment in segments).strip(), done.text)

    def test_a_known_speaker_is_found_and_the_other_starts_at_a(self):
        for known, labels in ((0, ["Alan Bell", "A"]), (1, ["A", "Alan Bell"])):
            answer = self.diarize(
                known_speaker_names=["Alan Bell"], known_speaker_references=[voice_clip(self.VOICES[known])]
            )
            self.check_lines(answer.segments, labels)

    def test_two_known_speakers_are_told_apart(self):
        clips = [voice_clip(voice) for voice in self.VOICES]
        answer = self.diarize(known_speaker_names=["Alan", "Fiona"], known_speaker_references=clips)
        self.check_lines(answer.segments, ["Alan", "Fiona"])

    def test_an_absent_speaker_is_not_invented(self):
        answer = self.diarize(known_speaker_names=["Kal"], known_speaker_references=[voice_clip("flite-kal16")])
        self.check_lines(answer.segments, ["A", "B"])

    def test_text_has_no_speakers(self):
        answer = self.transcribe(DIALOGUE, "gpt-4o-transcribe-diarize", response_format="json")
        self.assertEqual(answer.text, " ".join(line["text"] for line in DIALOGUE_TRUTH["segments"]))

    def test_wrong_speakers_are_refused(self):
        clip = voice_clip(self.VOICES[0])
        short = "data:audio/wav;base64," + base64.b64encode((FIXTURES / "audio" / "silence.wav").read_bytes()[:32_044]).decode()
        for names, clips, param in (
            (["a", "b", "c", "d", "e"], [clip] * 5, "known_speaker_names"),
            (["a", "b"], [clip], "known_speaker_references"),
            (["a"], ["https://example.org/a.wav"], "known_speaker_references"),
            (["a"], ["data:audio/wav;base64,AAAA"], "known_speaker_references"),
            (["a"], [short], "known_speaker_references"),
        ):
            with self.assertRaises(openai.BadRequestError) as caught:
                self.diarize(known_speaker_names=names, known_speaker_references=clips)
            self.assertEqual(caught.exception.param, param)

    def test_silence_has_no_segments(self):
        answer = self.diarize(FIXTURES / "audio" / "silence.wav")
        self.assertEqual((answer.text, answer.segments), ("", []))


class Keys(Case):
    def test_either_key_opens(self):
        for key in ("FIRST_KEY", "SECOND_KEY"):
            keyed = client("KEYED_URL", os.environ[key])
            self.assertEqual(keyed.audio.transcriptions.create(file=SENTENCE, model="whisper-1").text, SENTENCE_TEXT)
            self.assertTrue(list(keyed.models.list()))

    def test_a_wrong_key_does_not(self):
        for key in ("wrong", os.environ["FIRST_KEY"][:-1], os.environ["FIRST_KEY"] + "x"):
            stranger = client("KEYED_URL", key)
            with self.assertRaises(openai.AuthenticationError) as caught:
                stranger.audio.transcriptions.create(file=SENTENCE, model="whisper-1")
            self.assertEqual(caught.exception.code, "invalid_api_key")
            self.assertTrue(caught.exception.request_id)
            with self.assertRaises(openai.AuthenticationError):
                stranger.models.list()


class Async(unittest.TestCase):
    def test_many_at_once_get_their_own_answers(self):
        asyncio.run(self.many_at_once())

    async def many_at_once(self):
        rows = [line.split("\t")[:2] for line in (FIXTURES / "expected" / "sentences.tsv").read_text().splitlines()[1:9]]
        async with client(kind=AsyncOpenAI) as many:
            answers = await asyncio.gather(
                *(many.audio.transcriptions.create(file=FIXTURES / "audio" / name, model="whisper-1") for name, _ in rows)
            )
        self.assertEqual([answer.text for answer in answers], [text for _, text in rows])

    def test_stream(self):
        asyncio.run(self.stream())

    async def stream(self):
        async with client(kind=AsyncOpenAI) as alone:
            stream = await alone.audio.transcriptions.create(file=HELLO, model="gpt-4o-transcribe", stream=True)
            events = [event async for event in stream]
        self.assertEqual("".join(event.delta for event in events[:-1]), TEXT)
        self.assertEqual(events[-1].text, TEXT)


if __name__ == "__main__":
    unittest.main()
