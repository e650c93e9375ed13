/* FFmpeg, loaded by the decoder's child alone. Its libraries bring a hundred others with
 * them (encoders, window systems, network protocols), whose linking takes some 30 ms and
 * several megabytes: nothing that every start of every role should pay for.
 *
 * FFmpeg's headers give the types, so that a call through this table is checked by the
 * compiler as any other. */
#ifndef MEDIA_LIBAV_H
#define MEDIA_LIBAV_H

#include "base/err.h"

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/channel_layout.h>
#include <libavutil/cpu.h>
#include <libavutil/log.h>
#include <libavutil/opt.h>
#include <libavutil/version.h>
#include <libswresample/swresample.h>

/* FFmpeg 5.1 replaced bit masks by AVChannelLayout; Ubuntu 22.04 has 4.4. */
#define NEW_LAYOUTS (LIBAVUTIL_VERSION_INT >= AV_VERSION_INT(57, 28, 100))

#define LIBAV_UTIL(X)                                                                    \
    X(av_cpu_count)                                                                      \
    X(av_frame_alloc)                                                                    \
    X(av_frame_free)                                                                     \
    X(av_frame_make_writable)                                                            \
    X(av_frame_unref)                                                                    \
    X(av_free)                                                                           \
    X(av_freep)                                                                          \
    X(av_get_bytes_per_sample)                                                           \
    X(av_get_cpu_flags)                                                                  \
    X(av_get_packed_sample_fmt)                                                          \
    X(av_log_set_callback)                                                               \
    X(av_malloc)                                                                         \
    X(av_opt_set)                                                                        \
    X(av_opt_set_double)                                                                 \
    X(av_sample_fmt_is_planar)

#define LIBAV_CODEC(X)                                                                   \
    X(av_get_exact_bits_per_sample)                                                      \
    X(av_packet_alloc)                                                                   \
    X(av_packet_free)                                                                    \
    X(av_packet_unref)                                                                   \
    X(avcodec_alloc_context3)                                                            \
    X(avcodec_find_decoder)                                                              \
    X(avcodec_find_decoder_by_name)                                                      \
    X(avcodec_free_context)                                                              \
    X(avcodec_get_name)                                                                  \
    X(avcodec_open2)                                                                     \
    X(avcodec_parameters_to_context)                                                     \
    X(avcodec_receive_frame)                                                             \
    X(avcodec_send_packet)

#define LIBAV_FORMAT(X)                                                                  \
    X(av_find_best_stream)                                                               \
    X(av_probe_input_format3)                                                            \
    X(av_read_frame)                                                                     \
    X(avformat_alloc_context)                                                            \
    X(avformat_close_input)                                                              \
    X(avformat_find_stream_info)                                                         \
    X(avformat_open_input)                                                               \
    X(avio_alloc_context)                                                                \
    X(avio_context_free)

#define LIBAV_RESAMPLE(X)                                                                \
    X(swr_convert)                                                                       \
    X(swr_free)                                                                          \
    X(swr_get_out_samples)                                                               \
    X(swr_init)                                                                          \
    X(swr_set_matrix)

#if NEW_LAYOUTS
#define LIBAV_UTIL_LAYOUTS(X)                                                            \
    X(av_channel_layout_copy)                                                            \
    X(av_channel_layout_default)                                                         \
    X(av_channel_layout_describe)                                                        \
    X(av_channel_layout_uninit)
#define LIBAV_RESAMPLE_LAYOUTS(X) X(swr_alloc_set_opts2)
#else
#define LIBAV_UTIL_LAYOUTS(X)                                                            \
    X(av_get_channel_layout_string)                                                      \
    X(av_get_default_channel_layout)                                                     \
    X(av_opt_set_int)
#define LIBAV_RESAMPLE_LAYOUTS(X) X(swr_alloc_set_opts)
#endif

#define LIBAV_MEMBER(name) __typeof__(name) *name;

struct libav {
    LIBAV_UTIL(LIBAV_MEMBER)
    LIBAV_UTIL_LAYOUTS(LIBAV_MEMBER)
    LIBAV_CODEC(LIBAV_MEMBER)
    LIBAV_FORMAT(LIBAV_MEMBER)
    LIBAV_RESAMPLE(LIBAV_MEMBER)
    LIBAV_RESAMPLE_LAYOUTS(LIBAV_MEMBER)
};

/* Filled by libav_load, for as long as the process lives. */
extern struct libav libav;

/* Load the versions that this program was built with. May be called again. ERR_IO where
 * one is missing. */
int libav_load(struct err *e);

#endif
