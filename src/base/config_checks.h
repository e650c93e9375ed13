/* What the texts among the settings may be: one predicate each, for the table. */
#ifndef BASE_CONFIG_CHECKS_H
#define BASE_CONFIG_CHECKS_H

#include <stdbool.h>

/* The default of ALLOWED_AUDIO_FORMATS. */
#define ALL_AUDIO_FORMATS                                                                \
    "mp3,wav,m4a,flac,ogg,opus,webm,mp4,aac,mkv,mov,3gp,amr,aiff,wma,wmv,asf,"           \
    "avi,caf,au,w64,ac3,eac3,dts,flv,ts,mpg,mxf,dv,rm,wv,ape,tta,tak,mpc,"               \
    "truehd,voc,dss,qcp"

bool setting_is_printable(const char *value); /* no control characters */
bool setting_is_url(const char *value);       /* http or https, with a host */
bool setting_is_database_url(const char *value);
bool setting_is_redis_url(const char *value);
bool setting_is_storage_url(const char *value);
/* A path, or s3://BUCKET/PREFIX. */
bool setting_is_backup_dir(const char *value);
bool setting_is_model_name(const char *value);
bool setting_is_language_word(const char *value);
bool setting_is_rate(const char *value);
bool setting_is_address_list(const char *value);
bool setting_is_format_list(const char *value);
bool setting_is_compute_type(const char *value);
bool setting_is_header_name(const char *value);
/* Names, addresses and networks with or without ports; the guard judges them later. */
bool setting_is_host_list(const char *value);
/* Names of hosts, with a dot in front or not, or a star. */
bool setting_is_name_list(const char *value);
bool setting_is_key_id(const char *value);
/* Never shown, not even in an error. */
bool setting_is_secret(const char *value);
bool setting_is_token(const char *value); /* the same, longer */

/* Is everything to be computed in 32-bit floats, whatever it costs? */
bool compute_type_is_exact(const char *compute_type);

#endif
