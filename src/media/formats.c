#include "media/formats.h"

#include "media/decode.h"
#include "base/mem.h"

#include <ctype.h>
#include <strings.h>

/* Native decoders wherever FFmpeg has good ones. */
const char formats_decoders[] =
    "pcm_alaw,pcm_mulaw,pcm_s8,pcm_u8,pcm_s8_planar,pcm_s16le,pcm_s16be,pcm_s16le_planar,"
    "pcm_s16be_planar,pcm_u16le,pcm_u16be,pcm_s24le,pcm_s24be,pcm_s24le_planar,pcm_u24le,"
    "pcm_u24be,pcm_s32le,pcm_s32be,pcm_s32le_planar,pcm_u32le,pcm_u32be,pcm_s64le,"
    "pcm_s64be,pcm_f16le,pcm_f24le,pcm_f32le,pcm_f32be,pcm_f64le,pcm_f64be,pcm_bluray,"
    "pcm_dvd,pcm_lxf,"
    "adpcm_ms,adpcm_ima_wav,adpcm_ima_qt,adpcm_yamaha,adpcm_swf,adpcm_g722,g722,"
    "adpcm_g726,g726,adpcm_g726le,g726le,adpcm_ct,adpcm_sbpro_2,adpcm_sbpro_3,"
    "adpcm_sbpro_4,"
    "mp1,mp1float,mp2,mp2float,mp3,mp3float,mp3adu,mp3adufloat,mp3on4,mp3on4float,"
    "aac,aac_latm,als,alac,flac,vorbis,opus,speex,libspeex,amrnb,amrwb,wmav1,wmav2,"
    "wmapro,"
    "wmalossless,wmavoice,ac3,eac3,dca,mlp,truehd,tta,tak,wavpack,ape,mpc7,mpc8,gsm,"
    "gsm_ms,g723_1,g729,qcelp,evrc,dss_sp,ilbc,libilbc,nellymoser,qdm2,qdmc,cook,ra_144,"
    "ra_288,sipr,atrac3,atrac3p,mace3,mace6,truespeech,siren,msnsiren,s302m";

/* One row per demuxer: its name in FFmpeg, then what people call such files, the most
 * telling name first. Rows with no name are told apart by their content below. */
struct demuxer {
    const char *demuxer;
    const char *names[3];
};

static const struct demuxer demuxers[] = {
    {"mov,mp4,m4a,3gp,3g2,mj2", {NULL}},
    {"matroska,webm", {NULL}},
    {"ogg", {NULL}},
    {"asf", {NULL}},
    {"wav", {"wav"}},
    {"w64", {"w64", "wav"}},
    {"mp3", {"mp3"}},
    {"aac", {"aac"}},
    {"loas", {"aac"}},
    {"flac", {"flac"}},
    {"amr", {"amr"}},
    {"aiff", {"aiff"}},
    {"caf", {"caf"}},
    {"au", {"au"}},
    {"avi", {"avi"}},
    {"flv", {"flv"}},
    {"mpegts", {"ts"}},
    {"mpeg", {"mpg"}},
    {"mxf", {"mxf"}},
    {"dv", {"dv"}},
    {"rm", {"rm"}},
    {"wv", {"wv"}},
    {"ape", {"ape"}},
    {"tta", {"tta"}},
    {"tak", {"tak"}},
    {"mpc", {"mpc"}},
    {"mpc8", {"mpc"}},
    {"ac3", {"ac3"}},
    {"eac3", {"eac3", "ac3"}},
    {"dts", {"dts"}},
    {"truehd", {"truehd"}},
    {"voc", {"voc"}},
    {"dss", {"dss"}},
    {"qcp", {"qcp"}},
};

/* Other names under which people know them. */
static const struct alias {
    const char *alias, *name;
} aliases[] = {
    {"wave", "wav"},     {"mpga", "mp3"}, {"mp2", "mp3"},   {"m4b", "m4a"},
    {"m4p", "m4a"},      {"m4v", "mp4"},  {"mpeg4", "mp4"}, {"qt", "mov"},
    {"oga", "ogg"},      {"ogv", "ogg"},  {"ogx", "ogg"},   {"spx", "ogg"},
    {"weba", "webm"},    {"mka", "mkv"},  {"aif", "aiff"},  {"aifc", "aiff"},
    {"3gpp", "3gp"},     {"3g2", "3gp"},  {"snd", "au"},    {"mts", "ts"},
    {"m2ts", "ts"},      {"mpeg", "mpg"}, {"vob", "mpg"},   {"adts", "aac"},
    {"matroska", "mkv"},
};

/* Told apart by content; named here so that the list of settings can be checked. */
static const char *const special_names[] = {
    "m4a", "mp4", "mov", "3gp", "webm", "mkv", "opus", "ogg", "wma", "wmv", "asf",
};

bool formats_demuxer_allowed(const char *demuxer)
{
    for (size_t i = 0; i < ARRAY_LENGTH(demuxers); i++)
        if (!strcmp(demuxers[i].demuxer, demuxer))
            return true;
    return false;
}

static void set_names(const char *names[3], const char *a, const char *b, const char *c)
{
    names[0] = a;
    names[1] = b;
    names[2] = c;
}

/* QuickTime's brand, or no brand at all, is a mov; an ISO file with nothing but sound is
 * an m4a whatever its brand, because half of the world's encoders write "isom". */
static void name_mov(const struct formats_subject *s, const char *names[3])
{
    const char *brand = "";
    if (s->head_length >= 12 && !memcmp(s->head + 4, "ftyp", 4))
        brand = (const char *)s->head + 8;
    if (!*brand || !memcmp(brand, "qt  ", 4))
        set_names(names, "mov", NULL, NULL);
    else if (!memcmp(brand, "3g", 2))
        set_names(names, "3gp", "mp4", NULL);
    else if (s->has_video)
        set_names(names, "mp4", NULL, NULL);
    else
        set_names(names, "m4a", "mp4", NULL);
}

/* The EBML header says "webm" or "matroska" within its first bytes (element 0x4282). */
static void name_matroska(const struct formats_subject *s, const char *names[3])
{
    static const uint8_t doctype[] = {0x42, 0x82, 0x84, 'w', 'e', 'b', 'm'};
    size_t length = s->head_length < 64 ? s->head_length : 64;
    if (memmem(s->head, length, doctype, sizeof doctype))
        set_names(names, "webm", "mkv", NULL);
    else
        set_names(names, "mkv", NULL, NULL);
}

static void name_subject(const struct formats_subject *s, const char *names[3])
{
    set_names(names, "unknown", NULL, NULL);
    if (!strncmp(s->demuxer, "mov,", 4))
        name_mov(s, names);
    else if (!strncmp(s->demuxer, "matroska", 8))
        name_matroska(s, names);
    else if (!strcmp(s->demuxer, "ogg") && !strcmp(s->codec, "opus"))
        set_names(names, "opus", "ogg", NULL);
    else if (!strcmp(s->demuxer, "ogg"))
        set_names(names, "ogg", NULL, NULL);
    else if (!strcmp(s->demuxer, "asf"))
        set_names(names, s->has_video ? "wmv" : "wma", "asf", NULL);
    else
        for (size_t i = 0; i < ARRAY_LENGTH(demuxers); i++)
            if (!strcmp(demuxers[i].demuxer, s->demuxer))
                memcpy(names, demuxers[i].names, sizeof demuxers[i].names);
}

/* The next name of a comma-separated list, lower case, aliases resolved, without a
 * leading dot; "" for an empty one. Returns where to go on, NULL at the end. */
static const char *next_name(const char *at, char out[16])
{
    while (isspace((unsigned char)*at) || *at == '.')
        at++;
    size_t length = strcspn(at, ",");
    const char *next = at[length] ? at + length + 1 : NULL;
    while (length > 0 && isspace((unsigned char)at[length - 1]))
        length--;
    if (length > 15)
        length = 15;
    for (size_t i = 0; i < length; i++)
        out[i] = (char)tolower((unsigned char)at[i]);
    out[length] = '\0';
    for (size_t i = 0; i < ARRAY_LENGTH(aliases); i++)
        if (!strcmp(out, aliases[i].alias))
            snprintf(out, 16, "%s", aliases[i].name);
    return next;
}

static bool is_known(const char *name)
{
    for (size_t i = 0; i < ARRAY_LENGTH(special_names); i++)
        if (!strcmp(name, special_names[i]))
            return true;
    for (size_t i = 0; i < ARRAY_LENGTH(demuxers); i++)
        for (size_t j = 0; j < ARRAY_LENGTH(demuxers[i].names); j++)
            if (demuxers[i].names[j] && !strcmp(name, demuxers[i].names[j]))
                return true;
    return false;
}

int media_formats_check(const char *formats, struct err *e)
{
    bool any = false;
    char name[16];
    for (const char *at = formats; at;) {
        at = next_name(at, name);
        if (!*name)
            continue;
        if (!is_known(name))
            return err_set(
                e, ERR_INVALID,
                "\"%s\" in the list of allowed formats is not a format that can "
                "be read; names are those of file endings, such as mp3, wav, "
                "m4a, flac, ogg, opus, webm, mp4, mkv, mov, amr, aiff, wma, aac",
                name);
        any = true;
    }
    if (formats && !any)
        return err_set(e, ERR_INVALID, "the list of allowed formats is empty");
    return 0;
}

int formats_admit(const struct formats_subject *s, const char *allowed, struct err *e)
{
    if (!allowed)
        return 0;
    const char *names[3];
    name_subject(s, names);
    char name[16];
    for (const char *at = allowed; at;) {
        at = next_name(at, name);
        for (size_t i = 0; i < 3 && names[i]; i++)
            if (!strcmp(names[i], name))
                return 0;
    }
    return err_set(e, ERR_UNSUPPORTED,
                   "the file is %s (%s), which is not among the allowed formats: %.200s",
                   names[0], s->codec, allowed);
}

/* Signatures that nothing else shares. An mp4 may be sound or film, an ID3 tag may stand
 * before anything: these are not here. */
static const struct signature {
    size_t offset;
    const char *bytes;
    size_t length;
    const char *demuxer, *codec;
} signatures[] = {
    {8, "WAVEfmt ", 8, "wav", "audio"},
    {0, "fLaC", 4, "flac", "flac"},
    {0, "#!AMR", 5, "amr", "amr"},
    {8, "AIFF", 4, "aiff", "audio"},
    {8, "AIFC", 4, "aiff", "audio"},
    {0, "caff", 4, "caf", "audio"},
    {28, "OpusHead", 8, "ogg", "opus"},
    {29, "vorbis", 6, "ogg", "vorbis"},
    {0, "\x1A\x45\xDF\xA3", 4, "matroska,webm", "audio or video"},
};

int formats_admit_head(const uint8_t *head, size_t length, const char *allowed,
                       struct err *e)
{
    for (size_t i = 0; i < ARRAY_LENGTH(signatures); i++) {
        const struct signature *g = &signatures[i];
        if (g->offset + g->length > length ||
            memcmp(head + g->offset, g->bytes, g->length) != 0)
            continue;
        const struct formats_subject subject = {.demuxer = g->demuxer,
                                                .codec = g->codec,
                                                .head = head,
                                                .head_length = length};
        return formats_admit(&subject, allowed, e);
    }
    return 0;
}
