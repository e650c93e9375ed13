/* The schema's step for the native door: what makes it, in SQL. */
#ifndef STORE_SCHEMA_NATIVE_H
#define STORE_SCHEMA_NATIVE_H

extern const char schema_native_sql[];

#endif
