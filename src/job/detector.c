#include "job/detector.h"

int detector_open(struct vad **out, const char *path, struct err *e)
{
    struct err why = {0};
    int status = vad_open(out, path, &why);
    if (status == ERR_NOT_FOUND)
        return err_set(
            e, status,
            "there is no voice detector at %.200s; `whisper-transcriber models "
            "pull silero-vad` gets one" DETECTOR_NONE,
            path);
    if (status)
        return err_set(e, status,
                       "%.250s; `whisper-transcriber models pull silero-vad` gets it "
                       "anew" DETECTOR_NONE,
                       why.message);
    return 0;
}
