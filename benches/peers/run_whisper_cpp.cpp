// whisper.cpp as its command line runs it: recording in, text out.
#include "whisper.h"
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>
static void quiet(enum ggml_log_level, const char *, void *) {}
int main(int argc, char ** argv) {
    if (argc < 4) { fprintf(stderr, "usage: run MODEL WAV BEAMS [THREADS]\n"); return 2; }
    whisper_log_set(quiet, nullptr);
    FILE * f = fopen(argv[2], "rb"); if (!f) return 1;
    fseek(f, 0, SEEK_END); long size = ftell(f); fseek(f, 44, SEEK_SET);
    std::vector<int16_t> pcm((size - 44) / 2);
    if (fread(pcm.data(), 2, pcm.size(), f) != pcm.size()) return 1;
    fclose(f);
    std::vector<float> audio(pcm.size());
    for (size_t i = 0; i < pcm.size(); i++) audio[i] = pcm[i] / 32768.0f;
    auto cp = whisper_context_default_params();
    auto * ctx = whisper_init_from_file_with_params(argv[1], cp); if (!ctx) return 1;
    int beams = atoi(argv[3]);
    auto p = whisper_full_default_params(beams > 1 ? WHISPER_SAMPLING_BEAM_SEARCH : WHISPER_SAMPLING_GREEDY);
    p.print_progress = p.print_realtime = p.print_timestamps = p.print_special = false;
    p.language = "en"; p.n_threads = argc > 4 ? atoi(argv[4]) : std::min(4, (int) std::thread::hardware_concurrency());
    p.beam_search.beam_size = beams; p.greedy.best_of = 5;
    if (whisper_full(ctx, p, audio.data(), audio.size())) return 1;
    for (int i = 0; i < whisper_full_n_segments(ctx); i++) printf("%s", whisper_full_get_segment_text(ctx, i));
    printf("\n"); whisper_free(ctx);
}
