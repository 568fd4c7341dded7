# The guestbook's private configuration. This file is pushed to its own repository, pillar.git;
# make a key of your own with: python3 -c 'import secrets; print(secrets.token_hex())'
makina-projects.guestbook:
  data:
    title: A guestbook on corpus
    secret_key: example-9f1c7b0a52d84e63b7a1f0c4d6e8a2b5
