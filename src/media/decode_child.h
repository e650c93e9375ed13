/* What parent and child agree on besides the record. */
#ifndef MEDIA_DECODE_CHILD_H
#define MEDIA_DECODE_CHILD_H

enum child_descriptor {
    CHILD_INPUT = 0,
    CHILD_SAMPLES = 1, /* pipe: 32-bit floats */
    CHILD_STDERR = 2,
    CHILD_RECORD = 3, /* pipe: one struct record */
    CHILD_DESCRIPTORS = 4,
};

#endif
