/* The XML of S3's answers: texts of elements, as they end. Private to s3. */
#ifndef S3_XML_H
#define S3_XML_H

#include "base/err.h"

#include <stddef.h>

/* An element has ended: its name, that of the one around it ("" for the root), and its
 * own text, without the texts of elements in it. A negative answer ends the parsing. */
typedef int (*s3_xml_fn)(void *arg, const char *name, const char *parent,
                         const char *text);

/* ERR_CORRUPT for what is no XML, is nested too deep or has texts that are too long. */
int s3_xml_parse(const char *bytes, size_t length, s3_xml_fn fn, void *arg,
                 struct err *e);

/* The text of the first element of that name, anywhere; "" when there is none. */
void s3_xml_find(const char *bytes, size_t length, const char *name, char *out,
                 size_t size);

#endif
