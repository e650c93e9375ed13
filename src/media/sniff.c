#include "media/sniff.h"

#include "base/mem.h"

#include <stdbool.h>
#include <strings.h>

static const struct magic {
    size_t offset;
    const char *bytes;
    size_t length;
    const char *name;
} magics[] = {
    {0, "\x89PNG\r\n", 6, "a picture (PNG)"},
    {0, "\xFF\xD8\xFF", 3, "a picture (JPEG)"},
    {0, "GIF8", 4, "a picture (GIF)"},
    {8, "WEBP", 4, "a picture (WebP)"},
    {0, "II*\0", 4, "a picture (TIFF)"},
    {0, "MM\0*", 4, "a picture (TIFF)"},
    {0, "%PDF", 4, "a PDF document"},
    {0, "PK\x03\x04", 4, "a ZIP archive or an office document"},
    {0, "PK\x05\x06", 4, "an empty ZIP archive"},
    {0, "\x1F\x8B", 2, "a gzip archive"},
    {0, "7z\xBC\xAF", 4, "a 7-Zip archive"},
    {0, "Rar!", 4, "a RAR archive"},
    {0,
     "\xFD"
     "7zXZ",
     5, "an xz archive"},
    {0, "BZh", 3, "a bzip2 archive"},
    {257, "ustar", 5, "a tar archive"},
    {0,
     "\x7F"
     "ELF",
     4, "a program"},
    {0, "MZ", 2, "a program"},
    {0, "MThd", 4, "a MIDI file, which holds notes and no sound"},
    {0, "SQLite format 3", 15, "a database"},
};

/* A playlist only names recordings; following it would read what the uploader may not. */
static const struct start {
    const char *text, *name;
} starts[] = {
    {"#EXTM3U", "a playlist, which only says where recordings are"},
    {"[playlist]", "a playlist, which only says where recordings are"},
    {"ffconcat", "a concat script, which only says where recordings are"},
    {"file '", "a concat script, which only says where recordings are"},
    {"<MPD", "a playlist, which only says where recordings are"},
    {"v=0", "a stream description (SDP), which only says where recordings are"},
    {"WEBVTT", "a subtitle file"},
    {"[Script Info]", "a subtitle file"},
    {"<!doctype html", "a web page"},
    {"<html", "a web page"},
    {"<?xml", "an XML document"},
    {"{\"", "a JSON document"},
};

static bool is_text(const uint8_t *head, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (head[i] == 0x7F || (head[i] < 0x20 && !memchr("\t\n\r\f", head[i], 4)))
            return false;
    return length > 0;
}

const char *sniff_name(const uint8_t *head, size_t length)
{
    for (size_t i = 0; i < ARRAY_LENGTH(magics); i++) {
        const struct magic *m = &magics[i];
        if (m->offset + m->length <= length &&
            !memcmp(head + m->offset, m->bytes, m->length))
            return m->name;
    }
    if (length > 512)
        length = 512;
    if (length >= 3 && !memcmp(head, "\xEF\xBB\xBF", 3)) {
        head += 3;
        length -= 3;
    }
    if (!is_text(head, length))
        return NULL;
    for (size_t i = 0; i < ARRAY_LENGTH(starts); i++) {
        size_t n = strlen(starts[i].text);
        if (n <= length && !strncasecmp((const char *)head, starts[i].text, n))
            return starts[i].name;
    }
    if (memmem(head, length, " --> ", 5))
        return "a subtitle file";
    return "text";
}
