/* What a browser holds instead of a key: a page's WebSocket, event stream, player and
 * links can carry no header of ours, but they do carry a cookie. */
#ifndef API_SESSION_H
#define API_SESSION_H

#define SESSION_COOKIE "wt_session"

#endif
