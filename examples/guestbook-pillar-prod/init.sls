# The guestbook's private configuration in production: other values than in staging. What the
# macro configure writes of it is not in the release, and is written anew in each environment.
makina-projects.guestbook:
  data:
    title: The guestbook, in production
    secret_key: example-2b6d0c9e7a154f38c1d5e8f0b3a79624
